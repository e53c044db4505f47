"""What is kept of estimators and of fits that go on, and how files hold it."""
