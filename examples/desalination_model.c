/* Salt at the membrane stays below the 120 g/kg of the osmotic correlation:
 * there its osmotic pressure is above the limit of any seawater element. */
#include "desalination_model.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_odeiv2.h>
#include <gsl/gsl_poly.h>
#include <gsl/gsl_roots.h>
#include <math.h>

#define BAR 1e5
#define KWH 3.6e6
#define SEA_SALT 31.4038218e-3 /* kg/mol: Millero et al. 2008 */

enum { WATER, SLOPE, VISCOSITY, PHI = 4, FLOW = 0, SALT, PRESSURE };

struct unit { /* a row, and how its channel ends */
    struct ro_solution solution;
    double a, b, feed, recovery, flux, reynolds, film, friction, end[3];
};

const char *const ro_reasons[] = {"", "input outside the model",
    "Reynolds number outside 100-1000", "needs more than the pressure limit",
    "equations not solved", "energy below the minimum", "the rank was lost"};

const char ro_sources[] =
    "  Osmotic pressure of sea salt: Sharqawy et al. 2010 and, below 10 g/kg,\n"
    "  Nayar et al. 2016; range 0-120 g/kg, 0-120 °C. Mass transfer and\n"
    "  friction: Schock & Miquel 1987; range 100-1000 (Reynolds number).\n"
    "  min: thermodynamic minimum, kWh/m³; rec: recovery; LMH: L/(m² h).\n";

const char ro_columns[] =
    "salinity_g_per_kg,temperature_c,recovery,flux_l_per_m2_h,"
    "permeate_g_per_l,brine_g_per_l,pressure_bar,energy_kwh_per_m3,"
    "minimum_kwh_per_m3";

struct ro_solution
ro_solution(enum ro_salt salt, double t)
{
    /* Sharqawy et al. 2010, eq. 8, 23, 49 (of 8, S2 t2 is below 0.001). */
    static const double sea[7][5] = {
        {999.9, 2.034e-2, -6.162e-3, 2.261e-5, -4.657e-8},
        {802, -2.001, 1.677e-2, -3.06e-5}, {1.541, 1.998e-2, -9.52e-5},
        {7.974, -7.561e-2, 4.724e-4},
        {.89453233003, 4.1560737424e-4, -4.6262121398e-6, 0, 2.2211195897e-11},
        {-1.1445456438e-4, -1.4783462366e-6, 0, -1.3526263499e-11},
        {7.0132355546e-6, 5.6960486681e-8, -2.8624032584e-10}};
    struct ro_solution s = {.salt = salt, .kelvin = t + 273.15};
    double m = 10 / 990.0 / SEA_SALT, excess, *phi = s.p + PHI;

    for (int i = 0; i < 7; i++)
        s.p[i] = gsl_poly_eval(sea[i], 5, t);
    if (salt == RO_NACL)
        s.p[SLOPE] = 716; /* CRC Handbook: 1034 kg/m3 at 5 % */
    /* Nayar et al. 2016: phi = 1 - root m^1/2 + line m below 10 g/kg. */
    excess = gsl_poly_eval(phi, 3, 10) - 1;
    s.root = 2 * sqrt(m) * (phi[1] + 20 * phi[2]) * SEA_SALT * 980.1 -
             2 * excess / sqrt(m);
    s.line = (excess + s.root * sqrt(m)) / m;
    return s;
}

double
ro_osmotic_pressure(const struct ro_solution *s, double c)
{
    double rho = s->p[WATER], phi;
    double w = fmin(2 * c / (rho + sqrt(rho * rho + 4 * s->p[SLOPE] * c)), 0.5);
    double m = w / (1 - w) / (s->salt == RO_SEA ? SEA_SALT : 58.4428e-3 / 2);

    if (s->salt == RO_NACL) /* Pitzer & Mayorga 1973; 25 C, 6 mol/kg */
        phi = 1 - 0.3915 * sqrt(m / 2) / (1 + 1.2 * sqrt(m / 2)) +
              m * m * 0.00127 / 4 +
              m / 2 * (0.0765 + 0.2664 * exp(-2 * sqrt(m / 2)));
    else if (w < 0.01)
        phi = 1 - s->root * sqrt(m) + s->line * m;
    else
        phi = gsl_poly_eval(s->p + PHI, 3, 1000 * w);
    return phi * m * rho * 8.314462618 * s->kelvin;
}

/* The mean osmotic pressure on the way from feed to brine. */
double
ro_minimum(const struct ro_solution *s, double c, double recovery)
{
    double sum = 0;

    for (int i = 0; i < 100; i++)
        sum += ro_osmotic_pressure(s, c / (1 - recovery * (i + 0.5) / 100));
    return sum / 100;
}

/* d(flow, salt, pressure in bar) per length. Flux, permeate and wall settle
 * in a damped iteration; floors keep pressures far from the root solvable. */
static int
channel(double x, const double y[], double slope[], void *unit)
{
    const struct unit *u = unit;
    double flow = fmax(y[FLOW], (1 - u->recovery) / 2), flux = u->flux;
    double bulk = u->feed * y[SALT] / flow, re = u->reynolds * flow;
    double k = u->film * pow(re, 0.875), step = flux, permeate = 0;
    double pressure = fmax(y[PRESSURE], 0.1) * BAR;

    for (int i = 0; fabs(step) > 1e-13 * u->flux && i < 200; i++) {
        double e = exp(flux / k), give = flux + u->b * e, back, pi;
        permeate = bulk * u->b * e / give;
        back = ro_osmotic_pressure(&u->solution, permeate);
        pi =
            ro_osmotic_pressure(&u->solution, permeate + (bulk - permeate) * e);
        step = u->a * (pressure - pi + back) - flux;
        step /= 1 + u->a * (pi / k + back / give); /* about Newton's */
        flux = fmax(flux + step, flux / 10);
    }
    (void)x;
    slope[FLOW] = -u->recovery * flux / u->flux;
    slope[SALT] = slope[FLOW] * permeate / u->feed;
    slope[PRESSURE] = -u->friction * pow(re, 1.7);
    return fabs(step) > 1e-13 * u->flux ? GSL_EBADFUNC : GSL_SUCCESS;
}

/* Run the channel: how much more than aimed at a feed pressure recovers. */
static double
recovered(double pressure, void *unit)
{
    struct unit *u = unit;
    gsl_odeiv2_system system = {channel, NULL, 3, u};
    gsl_odeiv2_driver *driver = gsl_odeiv2_driver_alloc_y_new(
        &system, gsl_odeiv2_step_rkf45, 0.1, 1e-10, 1e-8);
    double *y = u->end, x = 0;

    y[FLOW] = y[SALT] = 1;
    y[PRESSURE] = pressure / BAR;
    if (driver == NULL)
        return NAN;
    if (gsl_odeiv2_driver_apply(driver, &x, 1, y) != GSL_SUCCESS)
        y[FLOW] = NAN;
    gsl_odeiv2_driver_free(driver);
    return 1 - y[FLOW] - u->recovery;
}

static int
find_pressure(struct unit *u, double limit, double *pressure)
{
    gsl_function aim = {recovered, u};
    gsl_root_fsolver *s = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
    int rc = s == NULL ? GSL_ENOMEM
                       : gsl_root_fsolver_set(s, &aim, u->flux / u->a, limit);

    for (rc = rc == 0 ? GSL_CONTINUE : rc; rc == GSL_CONTINUE;)
        if ((rc = gsl_root_fsolver_iterate(s)) == 0)
            rc = gsl_root_test_interval(gsl_root_fsolver_x_lower(s),
                gsl_root_fsolver_x_upper(s), 0, 1e-12);
    if (rc == 0)
        *pressure = gsl_root_fsolver_root(s);
    gsl_root_fsolver_free(s);
    return rc == 0 && fabs(recovered(*pressure, u)) < 1e-9 ? RO_OK : RO_SOLVER;
}

struct ro_result
ro_solve(const struct ro_module *module, const struct ro_row *row)
{
    const double height = 0.71e-3, porosity = 0.85, length = 8;
    const double d = 4 * porosity * height / (2 + 8 * (1 - porosity));
    const struct ro_result none = {NAN, NAN, NAN, NAN, NAN, RO_INPUT};
    double w = row->salinity / 1000, r = row->recovery, t = row->celsius;
    double rho, mu, diffusivity, factor, p = 0;
    struct unit u = {.recovery = r, .flux = row->flux / KWH};
    struct ro_result out = none;

    if (!(w > 0 && w <= 0.12 && t >= 0 && t <= 45 && r > 0 && r < 1 &&
            u.flux > 0))
        return out;
    gsl_set_error_handler_off(); /* codes, not abort() */
    u.solution = ro_solution(RO_SEA, t);
    rho = u.solution.p[WATER] + w * u.solution.p[SLOPE];
    u.feed = w * rho;
    /* Sharqawy et al. 2010, eq. 22 */
    mu = (4.2844e-5 + 1 / (0.157 * pow(t + 64.993, 2) - 91.296)) *
         (1 + w * (u.solution.p[VISCOSITY] + w * u.solution.p[VISCOSITY + 1]));
    /* 0.5 mol/L NaCl at 25 C, Robinson & Stokes 1959; Stokes-Einstein */
    diffusivity = 1.47e-9 * 0.95e-3 / mu * (t + 273.15) / 298.15;
    /* FilmTec manual: both permeabilities, from 25 C */
    factor = exp((t < 25 ? 3020 : 2640) * (1 / 298.15 - 1 / (t + 273.15)));
    u.a = 3.3e-12 * factor;
    u.b = 1.7e-8 * factor;
    /* Schock & Miquel 1987: Sherwood and Reynolds numbers, friction */
    u.reynolds = rho * 2 * u.flux * length / r / (height * porosity) * d / mu;
    u.film = 0.065 * pow(mu / rho / diffusivity, 0.25) * diffusivity / d;
    u.friction = 6.23 * mu * mu / (2 * rho * pow(d, 3)) * length / BAR;
    if (u.reynolds > 1000 || u.reynolds * (1 - r) < 100)
        out.status = RO_REYNOLDS;
    else if (u.flux >= u.a * module->limit || recovered(module->limit, &u) < 0)
        out.status = RO_LIMIT;
    else
        out.status = find_pressure(&u, module->limit, &p);
    if (out.status != RO_OK)
        return out;
    out.permeate = u.feed * (1 - u.end[SALT]) / r;
    out.brine = u.feed * u.end[SALT] / u.end[FLOW];
    out.pressure = p / BAR;
    out.energy =
        (p / module->pump - module->device * (1 - r) * u.end[PRESSURE] * BAR) /
        r / KWH;
    out.minimum = ro_minimum(&u.solution, u.feed, r) / KWH;
    if (out.energy >= out.minimum)
        return out;
    out = none;
    out.status = RO_BELOW;
    return out;
}
