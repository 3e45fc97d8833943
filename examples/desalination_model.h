/* A single-stage reverse-osmosis unit, eight spiral-wound elements in a row:
 * solution-diffusion and film theory along the feed channel. Isothermal;
 * volumes add up; viscosity and density are the feed's. Concentrations c are
 * in g/L, pressures in Pa above the permeate's, energies in J/m3. */
#ifndef DESALINATION_MODEL_H
#define DESALINATION_MODEL_H

enum ro_salt { RO_SEA, RO_NACL };
enum ro_status { /* RO_LOST is for the caller: nobody solved the row */
    RO_OK,
    RO_INPUT,
    RO_REYNOLDS,
    RO_LIMIT,
    RO_SOLVER,
    RO_BELOW,
    RO_LOST
};
extern const char *const ro_reasons[]; /* by status */
extern const char ro_sources[];        /* of the correlations, with ranges */
struct ro_solution {                   /* of one salt at one temperature */
    double p[7], kelvin, root, line;
    enum ro_salt salt;
};
struct ro_module { /* Pa; efficiencies, also of the recovery device */
    double limit, pump, device;
};
struct ro_row { /* g/kg, C, share of the feed, L/(m2 h) */
    double salinity, celsius, recovery, flux;
};
struct ro_result { /* g/L, bar, kWh/m3; NaN where status is not RO_OK */
    double permeate, brine, pressure, energy, minimum, status;
};
extern const char ro_columns[]; /* members of row and result, as CSV */
struct ro_solution ro_solution(enum ro_salt salt, double celsius);
double ro_osmotic_pressure(const struct ro_solution *solution, double c);
double ro_minimum(const struct ro_solution *, double c, double recovery);
struct ro_result ro_solve(const struct ro_module *, const struct ro_row *);
#endif
