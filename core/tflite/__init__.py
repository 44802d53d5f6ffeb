"""TFLite files without an interpreter: their graph, whether they are whole, what they carry."""
