"""What crosses the wall between training and serving; the only package that both planes import.

Needs numpy and onnxruntime, and those only where they are used: `errors`, `manifest` and `store` run on the
standard library, but for a store in a bucket, which needs obstore.
"""
