"""The search itself: pure decisions on immutable values, no effects, no clock, no world."""
