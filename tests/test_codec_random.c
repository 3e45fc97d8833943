/* Random round trips. The seed is printed; FORKPOOL_TEST_SEED sets it. */
#include "codec_check.h"
#include "forkpool_codec.h"

static unsigned char buffer[1 << 16] __attribute__((aligned(8)));
static unsigned char again[1 << 16] __attribute__((aligned(8)));

/* ---- Floats ---- */

static uint64_t
double_bits(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Encode these bits; the size, having checked that all of them come back. */
static size_t
double_size(uint64_t bits)
{
    double x, y;
    pool_enc_t enc;
    pool_dec_t dec;

    memcpy(&x, &bits, sizeof x);
    pool_enc_init(&enc, buffer, sizeof buffer);
    pool_enc_double(&enc, x);
    pool_dec_init(&dec, buffer, enc.size);
    require(pool_dec_double(&dec, &y) == 0);
    require(pool_dec_finish(&dec) == 0);
    if (double_bits(y) != bits)
        ck_abort_msg("%llx became %llx", (unsigned long long)bits,
            (unsigned long long)double_bits(y));
    return enc.size;
}

/* Every half there is comes back as the very same three bytes. */
START_TEST(test_every_half)
{
    for (unsigned half = 0; half <= 0xffff; half++) {
        const unsigned char wire[] = {
            0xf9, (unsigned char)(half >> 8), (unsigned char)half};
        double x;
        pool_dec_t dec;
        pool_enc_t enc;
        pool_dec_init(&dec, wire, sizeof wire);
        require(pool_dec_double(&dec, &x) == 0);
        pool_enc_init(&enc, buffer, sizeof buffer);
        pool_enc_double(&enc, x);
        require(enc.size == 3);
        require(memcmp(buffer, wire, 3) == 0);
        if (!(double_bits(x) << 1 > UINT64_C(0x7ff) << 53)) /* no NaN */
            require(x == (double)(float)x);
    }
}
END_TEST

/* Around every bit of the mantissa and every exponent: the width is the least
 * that the mantissa's lowest bit and the exponent allow. */
START_TEST(test_float_widths)
{
    for (int exponent = -1022; exponent <= 1023; exponent++) {
        for (int low = 0; low <= 52; low++) {
            uint64_t bits = (uint64_t)(exponent + 1023) << 52 |
                            UINT64_C(1) << (low > 0 ? 52 - low : 0);
            int last = low > 0 ? low : 52; /* its lowest bit's place */
            int least = exponent - last;   /* the lowest bit's weight */
            bool half = exponent <= 15 && least >= -24 && last <= 10;
            bool single = exponent <= 127 && least >= -149 && last <= 23;
            require(double_size(bits) == (half ? 3 : single ? 5 : 9));
        }
    }
}
END_TEST

START_TEST(test_random_floats)
{
    random_seed("random floats");
    for (unsigned i = 0; i < rounds(100000); i++) {
        uint64_t bits = random_u64();
        double_size(bits);
        double_size(bits & ~UINT64_C(0) << random_below(64));
        double_size(bits | UINT64_C(0x7ff) << 52);    /* NaNs */
        double_size(bits & ~(UINT64_C(0x7ff) << 52)); /* subnormals */
    }
}
END_TEST

START_TEST(test_singles)
{
    random_seed("singles");
    for (unsigned i = 0; i < rounds(100000); i++) {
        uint32_t bits = (uint32_t)random_u64();
        float x;
        double y;
        pool_enc_t enc;
        pool_dec_t dec;
        bits &= UINT32_MAX << random_below(32);
        memcpy(&x, &bits, sizeof x);
        pool_enc_init(&enc, buffer, sizeof buffer);
        pool_enc_float(&enc, x);
        require(enc.size == 3 || enc.size == 5);
        pool_dec_init(&dec, buffer, enc.size);
        require(pool_dec_double(&dec, &y) == 0);
        require(double_size(double_bits(y)) == enc.size);
        if (x == x)
            require((double)x == y);
    }
}
END_TEST

/* ---- Integers ---- */

START_TEST(test_integers)
{
    random_seed("integers");
    for (unsigned i = 0; i < rounds(100000); i++) {
        uint64_t n = random_magnitude(), u;
        int64_t x;
        pool_enc_t enc;
        pool_dec_t dec;
        size_t head = n < 24            ? 1
                      : n <= 0xff       ? 2
                      : n <= 0xffff     ? 3
                      : n <= UINT32_MAX ? 5
                                        : 9;

        pool_enc_init(&enc, buffer, sizeof buffer);
        pool_enc_uint(&enc, n);
        require(enc.size == head);
        pool_enc_int(&enc, (int64_t)n);
        pool_enc_nint(&enc, n >> 1);
        pool_dec_init(&dec, buffer, enc.size);
        require(pool_dec_uint(&dec, &u) == 0);
        require(u == n);
        require(pool_dec_int(&dec, &x) == 0);
        require(x == (int64_t)n);
        require(pool_dec_int(&dec, &x) == 0);
        require(x == -1 - (int64_t)(n >> 1));
        require(pool_dec_finish(&dec) == 0);
    }
}
END_TEST

/* ---- Trees ---- */

/* Write an item and record what a cursor must show for it. */
static void
plant(pool_enc_t *enc, pool_item_t *items, size_t *n, unsigned depth)
{
    pool_item_t *item = &items[(*n)++];
    uint64_t number = random_magnitude();
    size_t size = random_below(40), children = random_below(5);
    unsigned kind = (unsigned)random_below(depth > 0 ? 11 : 8);

    memset(item, 0, sizeof *item);
    item->value = number;
    switch (kind) {
    case 0:
        item->type = POOL_ITEM_UINT;
        pool_enc_uint(enc, number);
        return;
    case 1:
        item->type = POOL_ITEM_NINT;
        pool_enc_nint(enc, number);
        return;
    case 2:
    case 3:
        item->type = kind == 2 ? POOL_ITEM_BYTES : POOL_ITEM_TEXT;
        item->value = size;
        item->data = buffer + random_below(1000);
        if (kind == 2)
            pool_enc_bytes(enc, item->data, size);
        else
            pool_enc_text(enc, item->data, size);
        return;
    case 4:
        item->type = POOL_ITEM_BOOL;
        item->value &= 1;
        pool_enc_bool(enc, item->value);
        return;
    case 5:
        item->value = 22 + (number & 1);
        item->type = number & 1 ? POOL_ITEM_UNDEFINED : POOL_ITEM_NULL;
        if (number & 1)
            pool_enc_undefined(enc);
        else
            pool_enc_null(enc);
        return;
    case 6:
        item->type = POOL_ITEM_SIMPLE;
        item->value = number & 1 ? 32 + size : size % 20;
        pool_enc_simple(enc, (unsigned)item->value);
        return;
    case 7:
        item->type = POOL_ITEM_FLOAT;
        memcpy(&item->number, &number, sizeof number);
        pool_enc_double(enc, item->number);
        return;
    case 8:
        item->type = POOL_ITEM_TAG;
        children = 1;
        pool_enc_tag(enc, number);
        break;
    case 9:
        item->type = POOL_ITEM_ARRAY;
        item->value = children;
        pool_enc_array(enc, children);
        break;
    default:
        item->type = POOL_ITEM_MAP;
        item->value = children;
        pool_enc_map(enc, children);
        children *= 2;
    }
    while (children-- > 0)
        plant(enc, items, n, depth - 1);
}

static void
same_item(const pool_item_t *a, const pool_item_t *b)
{
    require(a->type == b->type);
    if (a->type == POOL_ITEM_FLOAT)
        require(double_bits(a->number) == double_bits(b->number));
    else
        require(a->value == b->value);
    if (b->data != NULL)
        require(memcmp(a->data, b->data, b->value) == 0);
}

START_TEST(test_trees)
{
    static pool_item_t items[20000];

    random_seed("trees");
    for (size_t i = 0; i < sizeof buffer; i++)
        buffer[i] = (unsigned char)random_u64();
    for (unsigned round = 0; round < rounds(3000); round++) {
        uint64_t state = random_state;
        size_t n = 0, size, counted;
        pool_item_t item;
        pool_enc_t enc;
        pool_dec_t dec;

        pool_enc_init(&enc, NULL, 0);
        plant(&enc, items, &n, 5);
        require(pool_enc_finish(&enc, &counted) == 0);
        random_state = state;
        n = 0;
        pool_enc_init(&enc, again, sizeof again);
        plant(&enc, items, &n, 5);
        require(pool_enc_finish(&enc, &size) == 0);
        require(size == counted);

        unsigned char *data = exact_copy(again, size);
        require(pool_check(data, size, 0, NULL) == 0);
        pool_dec_init(&dec, data, size);
        for (size_t i = 0; i < n; i++) {
            require(pool_dec_next(&dec, &item) == 0);
            same_item(&item, &items[i]);
        }
        require(pool_dec_finish(&dec) == 0);
        free(data);
    }
}
END_TEST

/* ---- Foreign and broken data ---- */

/* Step through everything; the error, having checked what was handed out. */
static int
step_through(const unsigned char *data, size_t size, size_t *offset)
{
    pool_item_t item;
    pool_dec_t dec;
    int rc;

    pool_dec_init(&dec, data, size);
    while ((rc = pool_dec_next(&dec, &item)) == 0 && item.type != POOL_ITEM_END)
        if (item.data != NULL)
            require(
                (const unsigned char *)item.data + item.value <= data + size);
    *offset = pool_dec_offset(&dec);
    return rc;
}

/* All ways to look at bytes agree on whether and where they are malformed. */
static int
all_agree(const unsigned char *bytes, size_t size)
{
    unsigned char *data = exact_copy(bytes, size);
    size_t checked, stepped;
    pool_dec_t dec;
    int rc = pool_check(data, size, 0, &checked);

    require(step_through(data, size, &stepped) == rc);
    require(stepped == checked);
    pool_dec_init(&dec, data, size);
    while (dec.at < dec.end)
        pool_dec_skip(&dec);
    require(pool_dec_finish(&dec) == rc);
    require(pool_dec_offset(&dec) == checked);
    free(data);
    return rc;
}

START_TEST(test_foreign)
{
    random_seed("foreign");
    for (unsigned round = 0; round < rounds(3000); round++) {
        struct foreign out = {buffer, buffer + sizeof buffer / 2};
        foreign_item(&out, (unsigned)random_below(7));
        size_t size = (size_t)(out.at - buffer);
        require(all_agree(buffer, size) == 0);
        for (int i = 0; i < 5; i++) { /* cut short */
            size_t cut = random_below(size);
            require(all_agree(buffer, cut) == (cut ? POOL_EFORMAT : 0));
        }
        for (int i = 0; i < 5; i++) { /* changed */
            buffer[random_below(size)] = (unsigned char)random_u64();
            all_agree(buffer, size);
        }
    }
}
END_TEST

START_TEST(test_noise)
{
    random_seed("noise");
    for (unsigned round = 0; round < rounds(20000); round++) {
        size_t size = random_below(32);
        for (size_t i = 0; i < size; i++)
            buffer[i] = (unsigned char)random_u64();
        all_agree(buffer, size);
    }
}
END_TEST

int
main(void)
{
    const struct test tests[] = {
        {"every half", test_every_half, 0},
        {"float widths", test_float_widths, 0},
        {"random floats", test_random_floats, 0},
        {"singles", test_singles, 0},
        {"integers", test_integers, 0},
        {"trees", test_trees, 0},
        {"foreign", test_foreign, 0},
        {"noise", test_noise, 0},
    };

    return run_tests("codec: random round trips", tests, COUNT(tests));
}
