"""Cross-validation on CK+: data (reading it), crossval (training in folds), folds (what comes of them)."""
