"""When a server sleeps although its specification does not suspend it."""
