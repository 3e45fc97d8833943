/* Makes and looks at images for check.sh:
 *
 *   picture make jpeg|png WIDTH HEIGHT >FILE
 *   picture tell <FILE     "jpeg 160x120", or "broken"
 */
#include <gd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
make(const char *type, int width, int height)
{
    gdImagePtr image = gdImageCreateTrueColor(width, height);

    if (image == NULL)
        return 1;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            gdImageSetPixel(image, x, y,
                gdTrueColor(x * 255 / width, y * 255 / height, (x ^ y) & 255));
    if (strcmp(type, "png") == 0)
        gdImagePng(image, stdout);
    else
        gdImageJpeg(image, stdout, 90);
    gdImageDestroy(image);
    return fflush(stdout) == 0 ? 0 : 1;
}

static int
tell(void)
{
    static char data[32 << 20];
    size_t size = fread(data, 1, sizeof data, stdin);
    int png = size > 1 && data[1] == 'P';
    gdImagePtr image = png ? gdImageCreateFromPngPtr((int)size, data)
                           : gdImageCreateFromJpegPtrEx((int)size, data, 0);

    if (image == NULL) {
        puts("broken");
        return 1;
    }
    printf(
        "%s %dx%d\n", png ? "png" : "jpeg", gdImageSX(image), gdImageSY(image));
    gdImageDestroy(image);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "make") == 0)
        return make(argv[2], atoi(argv[3]), atoi(argv[4]));
    if (argc == 2 && strcmp(argv[1], "tell") == 0)
        return tell();
    fprintf(stderr, "see the head of picture.c\n");
    return 2;
}
