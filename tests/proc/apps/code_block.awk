# Prints the block of C++ in a page of Markdown whose first line is `first`.
/^```cpp$/ { if ((getline line) > 0 && line == first) { print line; inside = 1 } next }
/^```$/ { inside = 0 }
inside
