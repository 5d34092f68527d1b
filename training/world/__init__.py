"""A drawn world in which the answer is known: characters that dance, walk, wave and turn, with exact keypoints.

Everything follows from seeds. Body and motion are separate, so the motion of one character on the body of another
has a true answer, which no filmed data set has.
"""
