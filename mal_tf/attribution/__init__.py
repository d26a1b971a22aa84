"""Attribution: journeys, mechanisms and labels, in NumPy. Imports neither TensorFlow nor Beam."""
