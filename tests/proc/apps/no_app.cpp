// A shared object that is no app.
extern "C" __attribute__((visibility("default"))) int something_else() {
    return 7;
}
