/* A library that a program loads by dlopen(3); it needs none itself. */
int plugin_task(void *call);

int
plugin_task(void *call)
{
    (void)call;
    return 4711;
}
