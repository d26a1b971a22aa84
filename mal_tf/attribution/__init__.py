"""Attribution of conversions to clicks: journeys, mechanisms and labels, in NumPy, without TensorFlow or Beam."""
