"""What the classifier is: labels, artifact, calibration and the serving network. Imports nothing of ours."""
