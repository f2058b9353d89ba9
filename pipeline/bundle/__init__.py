"""An export as an object: its manifest, its backends, its ONNX programs."""
