"""A drawn world in which the answer is known: figures that dance, walk, wave and turn, with exact keypoints.

Everything follows from seeds. A figure's body and its motion are separate, so the motion of one on the body of another
has a true answer, which no filmed data set has.
"""
