"""What people give, checked and encoded before work starts: rows, columns, labels, arguments."""
