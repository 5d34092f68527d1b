"""What several node files share: types on the wires, file names, text and pictures under a node."""
