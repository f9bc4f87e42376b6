"""The contract between training and serving; the only package that both planes import.

Only `model` and `prediction_log` need numpy, and only `model` onnxruntime. The rest runs on the standard library; a store in a bucket
needs obstore, signatures need model-signing.
"""
