"""`features` of `params.yaml`: a model for the parameters of each transform."""
