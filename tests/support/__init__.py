"""What the tests share: data makers, comparators, guard pages and forms of arrays."""
