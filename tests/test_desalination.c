/* The reverse-osmosis model of examples/10-desalination: the published values
 * that it must meet, balances, trends, and rows without a solution. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "desalination_model.h"

#define KWH 3.6e6
#define WITHIN(a, b, share)                                                    \
    ck_assert_msg(fabs((a) / (b)-1) <= (share), "%s is %.9g, not %.9g", #a,    \
        (double)(a), (double)(b))

static const struct ro_module module = {83e5, 0.88, 0.95};
static const double salinities[] = {1, 4, 9.9, 10.1, 18, 35, 45, 60};

static struct ro_result
solve(double salinity, double celsius, double recovery, double flux)
{
    struct ro_row row = {salinity, celsius, recovery, flux};

    return ro_solve(&module, &row);
}

static struct ro_result
solved(double salinity, double celsius, double recovery, double flux)
{
    struct ro_result r = solve(salinity, celsius, recovery, flux);

    ck_assert_msg(r.status == RO_OK, "%g g/kg, %g C, %g, %g: %s", salinity,
        celsius, recovery, flux, ro_reasons[(int)r.status]);
    return r;
}

/* Sea salt's density and osmotic pressure, written out once more. */
static double
sea_density(double s, double t)
{
    return 999.9 + 2.034e-2 * t - 6.162e-3 * t * t + 2.261e-5 * pow(t, 3) -
           4.657e-8 * pow(t, 4) +
           s / 1000 *
               (802.0 - 2.001 * t + 1.677e-2 * t * t - 3.06e-5 * pow(t, 3));
}

static double
sea_pressure(double s, double t)
{
    double phi = 8.9453233003e-1 + 4.1560737424e-4 * t -
                 4.6262121398e-6 * t * t + 2.2211195897e-11 * pow(t, 4) -
                 1.1445456438e-4 * s - 1.4783462366e-6 * t * s -
                 1.3526263499e-11 * s * pow(t, 3) + 7.0132355546e-6 * s * s +
                 5.6960486681e-8 * s * s * t - 2.8624032584e-10 * s * s * t * t;

    return phi * 1000 * s / ((1000 - s) * 31.4038218) * 8.3144598 *
           (t + 273.15) * sea_density(0, t);
}

static double
sea_concentration(double s, double t)
{
    return s / 1000 * sea_density(s, t);
}

/* Elimelech & Phillip, Science 333, 712 (2011). */
START_TEST(sodium_chloride_needs_what_is_published)
{
    struct ro_solution nacl = ro_solution(RO_NACL, 25);

    WITHIN(ro_minimum(&nacl, 35, 0) / KWH, 0.76, 0.03);
    WITHIN(ro_minimum(&nacl, 35, 0.5) / KWH, 1.06, 0.03);
}
END_TEST

/* Robinson & Stokes: osmotic coefficients of NaCl at 25 C. */
START_TEST(sodium_chloride_has_the_published_coefficients)
{
    static const double table[][2] = {
        {0.1, 0.9324}, {0.5, 0.9209}, {1, 0.9355}, {2, 0.9833}};
    struct ro_solution nacl = ro_solution(RO_NACL, 25);

    for (size_t i = 0; i < 4; i++) {
        double m = table[i][0], w = m * 58.4428e-3 / (1 + m * 58.4428e-3);
        double pi = table[i][1] * 2 * m * 8.314462618 * 298.15 * 997.05;
        double c = w * (sea_density(0, 25) + 716 * w);
        WITHIN(ro_osmotic_pressure(&nacl, c), pi, 0.004);
    }
}
END_TEST

START_TEST(sea_salt_at_zero_recovery_is_osmotic_pressure)
{
    for (double t = 0; t <= 45; t += 5)
        for (double s = 10.5; s <= 115; s += 9.5) {
            struct ro_solution sea = ro_solution(RO_SEA, t);
            double c = sea_concentration(s, t);
            WITHIN(ro_minimum(&sea, c, 0), sea_pressure(s, t), 0.005);
            WITHIN(ro_minimum(&sea, c, 0), sea_pressure(s, t), 1e-4);
            WITHIN(ro_minimum(&sea, c, 1e-7), sea_pressure(s, t), 1e-4);
        }
    WITHIN(sea_pressure(35, 25), 2.588e6, 0.001);
}
END_TEST

/* Below 10 g/kg: 1 - beta m^1/2 + lambda m, with the value and the slope that
 * the correlation has there; solved here for both as a linear system. */
START_TEST(sea_salt_below_10_is_the_extension)
{
    for (double t = 0; t <= 45; t += 5)
        for (double s = 0.5; s < 10; s += 0.5) {
            struct ro_solution sea = ro_solution(RO_SEA, t);
            double unit = 8.3144598 * (t + 273.15) * sea_density(0, t);
            double per = 1 / 31.4038218e-3, h = 1e-4;
            double m = per * s / (1000 - s), at = per * 10 / 990;
            double up = per * (10 + h) / (990 - h);
            double down = per * (10 - h) / (990 + h);
            double value = sea_pressure(10, t) / at / unit - 1;
            double slope = (sea_pressure(10 + h, t) / up -
                               sea_pressure(10 - h, t) / down) /
                           unit / (up - down);
            double beta = 2 * sqrt(at) * (slope - value / at);
            double lambda = slope + beta / 2 / sqrt(at);
            WITHIN(ro_osmotic_pressure(&sea, sea_concentration(s, t)),
                (1 - beta * sqrt(m) + lambda * m) * m * unit, 1e-4);
        }
}
END_TEST

/* Below 10 g/kg: no step, no kink, and ideal at infinite dilution. */
START_TEST(sea_salt_is_smooth_at_10_and_ideal_at_0)
{
    struct ro_solution sea = ro_solution(RO_SEA, 25);
    double c = sea_concentration(10, 25), d = 1e-3;
    double below = ro_osmotic_pressure(&sea, c - d);
    double at = ro_osmotic_pressure(&sea, c);
    double above = ro_osmotic_pressure(&sea, c + d);
    double ideal = 1e-6 / 31.4038218e-3 * 8.314462618 * 298.15;

    WITHIN(at, sea_pressure(10, 25), 1e-4);
    WITHIN((at - below) / d, (above - at) / d, 1e-3);
    WITHIN(ro_osmotic_pressure(&sea, 1e-6), ideal, 1e-3);
}
END_TEST

START_TEST(minimum_is_the_mean_of_the_brine)
{
    struct ro_solution sea = ro_solution(RO_SEA, 20);
    double c = sea_concentration(38, 20), sum = 0;

    for (int i = 0; i < 100000; i++)
        sum += ro_osmotic_pressure(&sea, c / (1 - 0.6 * (i + 0.5) / 1e5)) / 1e5;
    WITHIN(ro_minimum(&sea, c, 0.6), sum, 2e-5);
}
END_TEST

/* No element stands a pressure at which the correlation would be left. */
START_TEST(limit_keeps_the_osmotic_correlation_in_range)
{
    for (double t = 0; t <= 45; t += 1)
        ck_assert_double_gt(sea_pressure(120, t), module.limit);
}
END_TEST

START_TEST(energy_is_never_below_the_minimum)
{
    int n = 0;

    for (size_t i = 0; i < sizeof salinities / sizeof *salinities; i++)
        for (double t = 0; t <= 45; t += 9)
            for (double r = 0.2; r < 0.7; r += 0.06)
                for (double flux = 8; flux < 30; flux += 4) {
                    struct ro_result x = solve(salinities[i], t, r, flux);
                    double c = sea_concentration(salinities[i], t);
                    struct ro_solution sea = ro_solution(RO_SEA, t);
                    ck_assert(x.status == RO_OK || x.status == RO_REYNOLDS ||
                              x.status == RO_LIMIT);
                    if (x.status != RO_OK)
                        continue;
                    n++;
                    ck_assert_double_ge(x.energy, x.minimum);
                    WITHIN(x.minimum, ro_minimum(&sea, c, r) / KWH, 1e-5);
                    ck_assert_double_gt(x.permeate, 0);
                    ck_assert_double_lt(x.permeate, c / 20);
                    ck_assert_double_gt(x.brine, c);
                    ck_assert_double_le(x.pressure, 83);
                }
    ck_assert_int_gt(n, 500);
}
END_TEST

/* Salt in = salt out, with the recovery that was asked for. */
START_TEST(water_and_salt_balance)
{
    for (double r = 0.25; r < 0.5; r += 0.05) {
        struct ro_result x = solved(35, 25, r, 18);
        double feed = sea_concentration(35, 25);
        WITHIN(r * x.permeate + (1 - r) * x.brine, feed, 1e-6);
    }
}
END_TEST

START_TEST(trends_are_those_of_the_process)
{
    struct ro_result base = solved(35, 25, 0.4, 16);
    struct ro_result salty = solved(40, 25, 0.4, 16);
    struct ro_result warm = solved(35, 30, 0.4, 16);
    struct ro_result fast = solved(35, 25, 0.4, 19);
    struct ro_result more = solved(35, 25, 0.45, 16);

    ck_assert_double_gt(salty.pressure, base.pressure);
    ck_assert_double_gt(salty.energy, base.energy);
    ck_assert_double_gt(salty.permeate, base.permeate);
    ck_assert_double_lt(warm.pressure, base.pressure);
    ck_assert_double_gt(warm.permeate, base.permeate);
    ck_assert_double_gt(fast.pressure, base.pressure);
    ck_assert_double_lt(fast.permeate, base.permeate);
    ck_assert_double_gt(more.pressure, base.pressure);
    ck_assert_double_gt(more.brine, base.brine);
    ck_assert_double_gt(more.minimum, base.minimum);
}
END_TEST

/* What is lost in the machines, and nothing else, stands between the energy
 * and that of perfect ones; even these need more than the minimum. */
START_TEST(efficiencies_count)
{
    const struct ro_module perfect = {83e5, 1, 1};
    struct ro_row row = {35, 25, 0.4, 15};
    struct ro_result x = ro_solve(&module, &row);
    struct ro_result y = ro_solve(&perfect, &row);

    ck_assert_double_eq(x.pressure, y.pressure);
    ck_assert_double_gt(y.energy, y.minimum);
    /* Without losses: the pressure, and friction on the brine's way. */
    ck_assert_double_gt(y.energy * KWH, x.pressure * 1e5);
    ck_assert_double_lt(y.energy * KWH, x.pressure * 1e5 + 1.5 * 4e5);
    ck_assert_double_gt(x.energy, y.energy * 1.15);
    ck_assert_double_lt(x.energy, 4);
}
END_TEST

/* The channel once more: 4,000 slices, Euler, bisection for flux. */
static double
slice_flux(const struct ro_solution *sea, double a, double b, double k,
    double pressure, double c, double *permeate)
{
    double low = 0, high = a * pressure, flux = 0;

    for (int i = 0; i < 80; i++) {
        flux = (low + high) / 2;
        double e = exp(flux / k);
        *permeate = c * b * e / (flux + b * e);
        double wall = *permeate + (c - *permeate) * e;
        double drive = pressure - ro_osmotic_pressure(sea, wall) +
                       ro_osmotic_pressure(sea, *permeate);
        if (flux < a * drive)
            low = flux;
        else
            high = flux;
    }
    return flux;
}

static void
check_slices(double t)
{
    const double s = 36, r = 0.35, lmh = 18, h = 0.71e-3, eps = 0.85;
    const int slices = 4000;
    struct ro_result x = solved(s, t, r, lmh);
    struct ro_solution sea = ro_solution(RO_SEA, t);
    double w = s / 1000, rho = sea_density(s, t), feed = w * rho;
    double water = 4.2844e-5 + 1 / (0.157 * pow(t + 64.993, 2) - 91.296);
    double mu = water * (1 + (1.541 + 1.998e-2 * t - 9.52e-5 * t * t) * w +
                            (7.974 - 7.561e-2 * t + 4.724e-4 * t * t) * w * w);
    double d = 4 * eps / (2 / h + (1 - eps) * 8 / h), dx = 8.0 / slices;
    double diffusivity = 1.47e-9 * 0.95e-3 / mu * (t + 273.15) / 298.15;
    /* The FilmTec manual's temperature correction factor. */
    double factor =
        exp((t < 25 ? 3020 : 2640) * (1 / 298.15 - 1 / (t + 273.15)));
    double q0 = 2 * lmh / 1000 / 3600 * 8 / r, q = q0, salt = q * feed;
    double pressure = x.pressure * 1e5, pumped = pressure, permeate;

    for (int i = 0; i < slices; i++) {
        double u = q / (h * eps), re = rho * u * d / mu;
        double sc = mu / rho / diffusivity;
        double sh = 0.065 * pow(re, 0.875) * pow(sc, 0.25);
        double flux = slice_flux(&sea, 3.3e-12 * factor, 1.7e-8 * factor,
            sh * diffusivity / d, pressure, salt / q, &permeate);
        q -= 2 * flux * dx;
        salt -= 2 * flux * permeate * dx;
        pressure -= 6.23 * pow(re, -0.3) * rho * u * u / 2 / d * dx;
    }
    WITHIN(1 - q / q0, r, 2e-4);
    WITHIN((q0 * feed - salt) / (q0 - q), x.permeate, 1e-3);
    WITHIN(salt / q, x.brine, 2e-4);
    WITHIN((pumped * q0 / 0.88 - 0.95 * pressure * q) / (q0 - q) / KWH,
        x.energy, 1e-3);
}

START_TEST(channel_agrees_with_slices)
{
    check_slices(12);
    check_slices(25);
    check_slices(35);
}
END_TEST

START_TEST(unsolvable_rows_are_nan_with_a_reason)
{
    static const struct {
        struct ro_row row;
        enum ro_status status;
        const char *reason;
    } table[] = {
        {{70, 20, 0.4, 20}, RO_LIMIT, "pressure limit"},
        {{35, 25, 0.7, 12}, RO_REYNOLDS, "Reynolds"},
        {{35, 30, 0.1, 20}, RO_REYNOLDS, "Reynolds"},
        {{121, 25, 0.4, 15}, RO_INPUT, "outside the model"},
        {{0, 25, 0.4, 15}, RO_INPUT, "outside the model"},
        {{-35, 25, 0.4, 15}, RO_INPUT, "outside the model"},
        {{35, -1, 0.4, 15}, RO_INPUT, "outside the model"},
        {{35, 46, 0.4, 15}, RO_INPUT, "outside the model"},
        {{35, 25, 0, 15}, RO_INPUT, "outside the model"},
        {{35, 25, 1, 15}, RO_INPUT, "outside the model"},
        {{35, 25, 0.4, 0}, RO_INPUT, "outside the model"},
        {{NAN, 25, 0.4, 15}, RO_INPUT, "outside the model"},
        {{35, NAN, 0.4, 15}, RO_INPUT, "outside the model"},
        {{35, 25, NAN, 15}, RO_INPUT, "outside the model"},
        {{35, 25, 0.4, NAN}, RO_INPUT, "outside the model"},
        {{35, 25, 0.4, INFINITY}, RO_REYNOLDS, "Reynolds"},
    };

    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct ro_result x = ro_solve(&module, &table[i].row);
        ck_assert_msg(
            (int)x.status == (int)table[i].status, "case %zu: %g", i, x.status);
        ck_assert_ptr_nonnull(
            strstr(ro_reasons[table[i].status], table[i].reason));
        ck_assert(isnan(x.permeate) && isnan(x.brine) && isnan(x.pressure) &&
                  isnan(x.energy) && isnan(x.minimum));
    }
}
END_TEST

/* An energy that physics forbids is refused, not reported. */
START_TEST(energy_below_the_minimum_is_refused)
{
    const struct ro_module wonder = {83e5, 4, 1};
    struct ro_row row = {35, 25, 0.4, 15};
    struct ro_result x = ro_solve(&wonder, &row);

    ck_assert(x.status == RO_BELOW);
    ck_assert(isnan(x.energy) && isnan(x.minimum) && isnan(x.pressure));
}
END_TEST

/* What was solved before leaves no trace in a row's bits. */
START_TEST(rows_do_not_depend_on_their_neighbours)
{
    struct ro_result a = solve(35, 25, 0.4, 15), b, c;

    b = solve(4, 10, 0.3, 22);
    (void)solve(70, 20, 0.4, 20);
    c = solve(4, 10, 0.3, 22);
    ck_assert_mem_eq(&b, &c, sizeof b);
    c = solve(35, 25, 0.4, 15);
    ck_assert_mem_eq(&a, &c, sizeof a);
}
END_TEST

int
main(void)
{
    const TTest *const tests[] = {sodium_chloride_needs_what_is_published,
        sodium_chloride_has_the_published_coefficients,
        sea_salt_at_zero_recovery_is_osmotic_pressure,
        sea_salt_below_10_is_the_extension,
        sea_salt_is_smooth_at_10_and_ideal_at_0,
        minimum_is_the_mean_of_the_brine,
        limit_keeps_the_osmotic_correlation_in_range,
        energy_is_never_below_the_minimum, water_and_salt_balance,
        trends_are_those_of_the_process, efficiencies_count,
        channel_agrees_with_slices, unsolvable_rows_are_nan_with_a_reason,
        energy_below_the_minimum_is_refused,
        rows_do_not_depend_on_their_neighbours};
    Suite *suite = suite_create("desalination");
    TCase *tcase = tcase_create("model");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tcase, 120);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
