"""What estimators are made of: fitting, what is asked of fitted models, and mixins."""
