"""The farm at doubles of ComfyUI: every cell is done once whatever happens to servers, cells, driver or disk."""

import errno
import json
import socket
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import psutil
import pytest

from steadydancer_pack.comfy_client.client import ComfyClient
from steadydancer_pack.comfy_client.process import free_port
from steadydancer_pack.evaluation.farm import command, engines, result_files, run_lock
from steadydancer_pack.evaluation.farm.cell import FILES, ServerIdentity
from steadydancer_pack.evaluation.farm.cell_queue import CellQueue
from steadydancer_pack.evaluation.farm.cell_runner import CellRunner
from steadydancer_pack.evaluation.farm.engine import NoWorkers
from steadydancer_pack.evaluation.farm.result_files import LocalFiles, open_place
from steadydancer_pack.evaluation.farm.result_store import ResultStore
from steadydancer_pack.evaluation.farm.run_lock import RunLock
from steadydancer_pack.evaluation.farm.servers_engine import ServersEngine, read_addresses
from steadydancer_pack.tests.fake_comfyui import WORKFLOW, FakeComfyUI
from steadydancer_pack.tests.farm_cells import read_cells, write_material
from steadydancer_pack.tests.together import meeting, together

SECONDS = 30
FAST = {"poll_seconds": 0.01, "retries": 0, "probe_seconds": 0.1, "give_up_seconds": 0.5}
IDENTITY = ServerIdentity("f", "1.0", {"m.safetensors": "0"})


def measured(cell, video, suffix):
    return {"metrics": {"truth_psnr": 20.0}, "metrics_error": ""}, b""


class Farm:
    """Material, results and servers of one test."""

    def __init__(self, folder, stack):
        self.folder, self.stack, self.notes = folder, stack, []

    def material(self, photos="a b", videos="v w"):
        write_material(self.folder, photos, videos)
        return self

    def servers(self, count=1, seconds=0.01, **options):
        return [self.stack.enter_context(FakeComfyUI(seconds, **options)) for _ in range(count)]

    @property
    def store(self):
        return ResultStore(open_place(str(self.folder / "out")), measured)

    def run(self, *servers, store=None, during=None, **options):
        """Run the cells at the servers, fakes or addresses; return how each cell of this run ended, by name."""
        template, cells = read_cells(self.folder)
        engine = ServersEngine([getattr(s, "address", s) for s in servers], template, **{**FAST, **options})
        queue = CellQueue(cells, store or self.store, on_note=self.notes.append)
        self.queue = queue
        if during:
            Thread(target=during, args=(queue,), daemon=True).start()
        try:
            engine.run(queue)
        finally:
            queue.close()
        return {name: outcome.status for name, outcome in sorted(queue.ended.items())}

    def results(self):
        return self.store.results(read_cells(self.folder)[1])


@pytest.fixture
def farm(tmp_path):
    with ExitStack() as stack:
        yield Farm(tmp_path, stack)


def wait_for(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def done(*names):
    return dict.fromkeys(names, "done")


ALL = done("a__v", "a__w", "b__v", "b__w")


def test_every_cell_is_done_once_by_servers_at_the_same_time_and_kept_whole(farm):
    servers = farm.material().servers(2, seconds=0.2)
    servers[0].on_begin = servers[1].on_begin = meeting(lambda: None)
    assert farm.run(*servers) == ALL
    assert sum((server.done for server in servers), Counter()) == dict.fromkeys(ALL, 1)
    assert all(server.done.total() == 2 and server.probes == 1 for server in servers)
    for name, manifest in farm.results().items():
        video = (farm.folder / "out" / name / manifest["file"]).read_bytes()
        assert video == Path(manifest["video"]).read_bytes() and manifest["seconds"] == 0.2
        assert json.loads((farm.folder / "out" / name / "metrics.json").read_text())["metrics"] == {"truth_psnr": 20.0}
    assert "4 cells, 0 of them finished before" in farm.notes


def test_nothing_finished_is_done_again_but_what_another_file_workflow_or_seed_makes_is(farm):
    (server,) = farm.material().servers()
    farm.run(server)
    assert farm.run(server) == {} and "4 cells, 4 of them finished before" in farm.notes
    (farm.folder / "out" / "a__v" / "cell.json").write_text('{"status": "do')
    (farm.folder / "out" / "a__w" / "cell.json").unlink()
    assert farm.run(server) == done("a__v", "a__w")
    assert server.done.total() == 4  # from the server's history
    (farm.folder / "photos" / "b.png").write_bytes((farm.folder / "photos" / "a.png").read_bytes())
    assert farm.run(server) == done("b__v", "b__w")
    five = {"3": {**WORKFLOW["3"], "inputs": {"seed": 1, "steps": 5}}}
    (farm.folder / "workflow.json").write_text(json.dumps({**WORKFLOW, **five}))
    assert farm.run(server) == ALL
    assert farm.run(*farm.servers(pack_version="1.1")) == ALL


def test_a_key_is_of_contents_workflow_seed_models_and_version_and_not_of_names(farm):
    farm.material("a", "v")
    (cell,) = read_cells(farm.folder)[1]
    (farm.folder / "photos" / "a.png").rename(farm.folder / "photos" / "c.png")
    (renamed,) = read_cells(farm.folder)[1]
    assert renamed.name != cell.name and renamed.key(IDENTITY) == cell.key(IDENTITY)
    (seeded,) = read_cells(farm.folder, seed=7)[1]
    keys = {
        cell.key(IDENTITY),
        seeded.key(IDENTITY),
        cell.key(ServerIdentity("g", "1.0")),
        cell.key(ServerIdentity("f", "1.1")),
        *(type(cell)(cell.pair, {**cell.hashes, name: "0"}, "w", None).key(IDENTITY) for name in FILES),
    }
    assert len(keys) == 4 + len(FILES)


def test_a_server_that_dies_in_the_middle_costs_no_cell(farm):
    servers = farm.material("a b c d").servers(2, seconds=0.1)

    def kill(queue):
        wait_for(lambda: servers[0].done)
        servers[0].kill()

    assert list(farm.run(*servers, during=kill).values()) == ["done"] * 8
    assert len(farm.results()) == 8 and max(servers[1].done.values()) == 1
    assert any("goes to another worker: No ComfyUI answers at" in note for note in farm.notes)


def test_a_server_that_comes_later_gets_work(farm):
    port = free_port()
    (first,) = farm.material("a b c d").servers(1, seconds=0.2)
    late = []

    def come(queue):
        wait_for(lambda: first.done)
        late.extend(farm.servers(1, port=port, seconds=0.2))

    assert list(farm.run(first, f"127.0.0.1:{port}", during=come).values()) == ["done"] * 8
    assert late[0].done and first.done.total() + late[0].done.total() == 8
    assert any("It is tried again every 0.1 s" in note for note in farm.notes)


def test_a_cell_that_ends_three_servers_is_set_aside_with_its_error(farm):
    servers = farm.material("a killer", "v").servers(4)
    assert farm.run(*servers) == {"a__v": "done", "killer__v": "poisoned"}
    poisoned = farm.results()["killer__v"]
    assert poisoned["attempts"] == 3 and "No ComfyUI answers" in poisoned["error"]
    assert sum(server.closing for server in servers) == 3
    assert farm.run(servers[-1] if not servers[-1].closing else next(s for s in servers if not s.closing)) == {}


def test_a_cell_that_is_stopped_at_the_server_is_tried_three_times(farm):
    servers = farm.material("a stopped", "v").servers()
    assert farm.run(*servers) == {"a__v": "done", "stopped__v": "poisoned"}
    assert servers[0].begun.count("stopped__v") == 3
    assert "interrupted at the server" in farm.results()["stopped__v"]["error"]


def test_bad_photos_videos_prompts_and_nodes_fail_in_words_and_leave_the_others_alone(farm):
    (server,) = farm.material("a error nobody refused broken", "v").servers()
    (farm.folder / "photos" / "broken.png").write_text("no picture")
    (farm.folder / "videos" / "cut.mp4").write_bytes((farm.folder / "videos" / "v.mp4").read_bytes()[:600])
    statuses = farm.run(server)
    assert statuses.pop("a__v") == "done" and len(statuses) == 9 and set(statuses.values()) == {"failed"}
    errors = {name: result["error"] for name, result in farm.results().items()}
    assert errors["error__v"] == "N (node 3): out of memory"
    assert errors["nobody__v"] == "N (node 3): Nobody was found in the photo."
    assert "UNETLoader (node 5): Value not in list" in errors["refused__v"]
    assert "no picture that can be read" in errors["broken__v"] and "cannot be read as a video" in errors["a__cut"]
    assert farm.run(server) == {}
    again = farm.store
    again.retry_failed = True
    assert farm.run(server, store=again).keys() == statuses.keys() and server.begun.count("error__v") == 2


def test_a_server_with_other_models_another_version_or_no_pack_gets_no_cells_and_is_named(farm, monkeypatch):
    (first,) = farm.material().servers(seconds=0.1)
    others = [*farm.servers(models={"m.safetensors": "1" * 64}), *farm.servers(pack_version="0.9")]
    info = CellRunner.__init__

    def without_node(runner, client, *options):
        info(runner, client, *options)
        if client.address == bare.address:
            del runner.object_info["SteadyDancerFingerprint"]

    (bare,) = farm.servers()
    monkeypatch.setattr(CellRunner, "__init__", without_node)
    late = [server.address for server in (*others, bare)]
    template, cells = read_cells(farm.folder)
    with ComfyClient(first.address) as client:
        identity = CellRunner(client, template).identity()
    queue = CellQueue(cells, farm.store, on_note=farm.notes.append)
    assert queue.join("before", identity)
    queue.leave("before")
    ServersEngine([first.address, *late], template, **FAST).run(queue)
    queue.close()
    assert first.done.total() == 4 and not any(server.done for server in (*others, bare))
    said = "\n".join(farm.notes)
    assert f"{late[0]} gets no cells: it has other contents of m.safetensors" in said
    assert f"{late[1]} gets no cells: it has SteadyDancer 0.9 instead of 1.0" in said
    assert f"{late[2]} has no node SteadyDancerFingerprint. Install" in said


def test_no_server_that_answers_and_none_that_fits_end_the_run(farm):
    farm.material()
    with pytest.raises(NoWorkers, match=r"No ComfyUI answers at 127.0.0.1:9 "):
        farm.run("127.0.0.1:9")
    (server,) = farm.servers()
    odd = {**WORKFLOW, "5": {"class_type": "Unknown", "inputs": {}, "_meta": {"title": "U"}}}
    (farm.folder / "workflow.json").write_text(json.dumps(odd))
    with pytest.raises(NoWorkers, match="lacks the nodes Unknown"):
        farm.run(server)
    (farm.folder / "workflow.json").write_text(json.dumps(WORKFLOW))
    (dying,) = farm.servers(seconds=5)
    with pytest.raises(NoWorkers, match="No ComfyUI answers"):
        farm.run(dying, during=lambda queue: [wait_for(lambda: dying.begun), dying.kill()])
    assert farm.results() == {}


def test_prompts_of_a_killed_driver_are_found_at_their_servers_and_not_run_twice(farm):
    servers = farm.material("a b c").servers(2, seconds=0.1)
    template, cells = read_cells(farm.folder)
    for server, cell in zip(servers, (cells[-1], cells[0]), strict=True):
        with ComfyClient(server.address) as client:
            runner = CellRunner(client, template, 0.01)
            runner.identity()
            runner.send(cell)
    wait_for(lambda: servers[0].done)  # one is done, nobody fetched it
    assert len(farm.run(*servers)) == 6
    assert Counter(servers[0].begun + servers[1].begun) == Counter(cell.name for cell in cells)
    assert sum("was queued by an earlier run" in note for note in farm.notes) == 2


def test_ctrl_c_takes_our_prompts_from_the_servers_and_the_next_run_goes_on(farm, monkeypatch):
    servers = farm.material("a b c").servers(2, seconds=0.3)
    wait = CellQueue.wait

    def interrupted(queue, seconds):
        wait(queue, seconds)
        if seconds == 0.5 and queue.ended:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CellQueue, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            farm.run(*servers)
    assert farm.queue.pending + len(farm.queue.ended) == 6 and not any(farm.queue.running().values())
    wait_for(lambda: not any(server.running or server.pending for server in servers))
    already = farm.results()
    assert 0 < len(already) < 6
    assert farm.run(*servers).keys() == {cell.name for cell in read_cells(farm.folder)[1]} - already.keys()


def test_a_full_disk_ends_the_run_in_words_and_leaves_no_half_result(farm, monkeypatch, capsys):
    (server,) = farm.material().servers()
    write = LocalFiles.write

    def full(files, path, content):
        if path.endswith("metrics.json") and path.startswith("b__v"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(files, path, content)

    monkeypatch.setattr(command, "measure", measured)
    monkeypatch.setattr(LocalFiles, "write", full)
    assert call(farm, "--server", server.address) == 1
    assert "A result cannot be written to" in (said := capsys.readouterr().err) and "No space left" in said
    found = farm.results()
    assert "b__v" not in found and {"a__v", "a__w"} <= found.keys()
    monkeypatch.setattr(LocalFiles, "write", write)
    assert call(farm, "--server", server.address) == 0 and len(farm.results()) == 4 and server.done.total() == 4


def call(farm, *more, output=None):
    folders = [str(farm.folder / name) for name in ("photos", "videos")]
    where = ["--workflow", str(farm.folder / "workflow.json"), "--output", output or str(farm.folder / "out")]
    return command.main([*folders, *where, *more])


def test_the_command_reports_shows_a_matrix_that_plays_and_lists_in_a_dry_run(farm, monkeypatch, capsys):
    (server,) = farm.material("a error").servers()
    monkeypatch.setattr(command, "measure", measured)
    (farm.folder / "list.txt").write_text(f"# here\n{server.address}\n")
    assert call(farm, "--dry-run") == 0
    assert "4 cells: 4 not run" in (said := capsys.readouterr().out) and "a__v: not run" in said
    assert not (farm.folder / "out").exists()
    assert call(farm, "--servers", str(farm.folder / "list.txt")) == 3
    said = capsys.readouterr().out
    assert "2 of 4 cells are done" in said and "error__w: failed at" in said and "out of memory" in said
    page = (farm.folder / "out" / "matrix.html").read_text()
    assert 'src="a__v/video.mp4"' in page and "PSNR: 20.00 dB" in page and "failed: N (node 3): out of memory" in page
    assert page.count("<video") == 2 and page.count("<img") == 2
    assert "2 done, 2 failed" in (farm.folder / "out" / "report.md").read_text()
    call(farm, "--dry-run")
    assert "4 cells: 2 done, 2 failed" in capsys.readouterr().out
    assert not (farm.folder / "out" / "farm.lock").exists()


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        (["--server", "127.0.0.1:9"], 4, "No ComfyUI answers at 127.0.0.1:9"),
        (["--server", "here"], 1, "'here' is no address of a server. Give HOST:PORT"),
        (["--servers", "nowhere.txt"], 1, "nowhere.txt cannot be read"),
        (["--workflow", "nowhere.json"], 1, "nowhere.json is no workflow that can be read"),
    ],
)
def test_the_exit_status_and_the_words_of_a_bad_start(farm, capsys, more, status, words):
    farm.material()
    assert call(farm, *more) == status
    assert words in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_named_before_any_work(farm, capsys):
    (server,) = farm.material().servers()
    (farm.folder / "file").touch()
    assert call(farm, "--server", server.address, output=str(farm.folder / "file" / "out")) == 1
    assert "The results cannot be written to" in capsys.readouterr().err and not server.begun


def test_a_second_driver_on_one_output_says_so_and_does_nothing(farm, capsys):
    (server,) = farm.material().servers()
    with RunLock(LocalFiles(farm.folder / "out")):
        assert call(farm, "--server", server.address) == 1
    assert f"Another run writes to {farm.folder / 'out'}: process {psutil.Process().pid} on" in capsys.readouterr().err
    assert not server.begun


HERE = {"host": socket.gethostname(), "pid": psutil.Process().pid, "started": psutil.Process().create_time()}


@pytest.mark.parametrize(
    ("holder", "alive"),
    [
        (HERE, True),
        (HERE | {"started": 1.0}, False),  # another process has its number now
        (HERE | {"pid": 2**22 + 1}, False),
        ({"host": "elsewhere", "age": 0}, True),
        ({"host": "elsewhere", "age": 61}, False),
        ({}, False),
    ],
)
def test_a_lock_of_a_killed_run_is_taken_and_one_of_a_run_that_goes_on_is_not(tmp_path, holder, alive):
    files = LocalFiles(tmp_path)
    if "age" in holder:
        holder = holder | {"time": time.time() - holder["age"]}
    files.write(run_lock.LOCK, json.dumps(holder).encode())
    if alive:
        with pytest.raises(ValueError, match="Another run writes to"):
            RunLock(files).__enter__()
    else:
        with RunLock(files):
            assert json.loads((tmp_path / run_lock.LOCK).read_text())["pid"] == HERE["pid"]


def test_a_heartbeat_renews_the_lock_and_a_run_that_lost_it_is_told(tmp_path):
    files, lost = LocalFiles(tmp_path), []
    with RunLock(files, heartbeat=0.02) as lock:
        lock.on_lost = lost.append
        first = files.read(run_lock.LOCK)
        wait_for(lambda: files.read(run_lock.LOCK) not in (None, first))
        files.write(run_lock.LOCK, b'{"id": "another"}')
        wait_for(lambda: lost)
    assert "Another run has taken over" in str(lost[0]) and files.read(run_lock.LOCK) == b'{"id": "another"}'


def test_results_lie_at_any_fsspec_address(farm, monkeypatch, capsys):
    monkeypatch.setattr(result_files, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(command, "measure", measured)
    (server,) = farm.material("a").servers()
    assert call(farm, "--server", server.address, output="memory://farm/out") == 0
    files = open_place("memory://farm/out")
    assert files.read("a__v/video.mp4") == (farm.folder / "videos" / "v.mp4").read_bytes()
    assert b"<video" in files.read("matrix.html") and files.read("farm.lock") is None
    assert call(farm, "--server", server.address, output="memory://farm/out") == 0
    assert "2 cells, 2 of them finished before" in capsys.readouterr().out and server.done.total() == 2
    assert files.create("x", b"1") and not files.create("x", b"2")


@pytest.mark.parametrize("place", ["s3://bucket/folder", "nonsense://x"])
def test_an_address_whose_package_is_missing_says_which_to_install(monkeypatch, place):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ValueError, match=f"(?s){place} .*evaluation/farm/requirements.txt"):
        open_place(place)


def test_two_runs_that_write_one_file_together_leave_one_of_both_whole(tmp_path, monkeypatch):
    write_bytes, meet = Path.write_bytes, meeting(lambda: None)
    monkeypatch.setattr(Path, "write_bytes", lambda *where, **how: [write_bytes(*where, **how), meet()])
    together(*(lambda name=name: LocalFiles(tmp_path).write("a.json", name) for name in (b"a", b"b")))
    assert (tmp_path / "a.json").read_bytes() in (b"a", b"b")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_addresses_come_from_options_and_a_list():
    assert read_addresses(["a:1"], "b:2  # the second\n\n# none\nhttp://c:3/\n") == ["a:1", "b:2", "http://c:3/"]
    assert set(engines.ENGINES) >= {"servers"}


def test_a_cell_that_ends_its_server_is_counted_although_the_one_before_it_was_not_fetched_yet(farm):
    (server,) = farm.material("a killer", "v").servers()
    with pytest.raises(NoWorkers):
        farm.run(server, poll_seconds=0.3)
    assert server.begun == ["a__v", "killer__v"]
    assert any(note.startswith("killer__v goes to another worker: No ComfyUI answers") for note in farm.notes)
    assert all(farm.queue.was_tried(cell) for cell in farm.queue.cells)
