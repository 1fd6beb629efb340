"""What others print: the paper (arXiv:2604.09412), and Safran and Shamir (arXiv:1712.08968)."""

from typing import NamedTuple


class Shares(NamedTuple):
    """Percent of 10,000 runs."""

    local: float
    global_share: float
    none: float


TABLE_3A = {  # K = M
    6: Shares(0.91, 98.82, 0.27),
    7: Shares(5.30, 94.37, 0.33),
    8: Shares(13.16, 86.09, 0.75),
    9: Shares(21.15, 78.53, 0.32),
    10: Shares(33.27, 66.38, 0.35),
    11: Shares(43.74, 55.92, 0.34),
    12: Shares(54.62, 45.12, 0.26),
    13: Shares(63.87, 35.93, 0.20),
    14: Shares(71.69, 28.08, 0.23),
    15: Shares(77.99, 21.81, 0.20),
    16: Shares(82.48, 17.44, 0.08),
    17: Shares(86.79, 13.18, 0.03),
    18: Shares(90.42, 9.51, 0.07),
    19: Shares(92.54, 7.38, 0.08),
    20: Shares(94.76, 5.21, 0.03),
}
TABLE_3B = {  # M, K = M + 1
    8: Shares(0.07, 99.74, 0.19),
    9: Shares(0.75, 98.95, 0.30),
    10: Shares(1.93, 97.26, 0.81),
    11: Shares(3.83, 94.25, 1.92),
    12: Shares(5.74, 91.42, 2.84),
    13: Shares(8.37, 87.46, 4.17),
    14: Shares(13.50, 81.16, 5.34),
    15: Shares(18.12, 75.36, 6.52),
    16: Shares(28.58, 65.47, 5.95),
    17: Shares(36.88, 57.50, 5.62),
    18: Shares(42.25, 52.62, 5.13),
    19: Shares(51.46, 44.24, 4.30),
}
TABLE_4A = {  # nGD, K = M
    2: Shares(0.00, 99.77, 0.23),
    3: Shares(0.15, 99.85, 0.00),
    4: Shares(0.02, 99.98, 0.00),
    5: Shares(0.01, 99.99, 0.00),
    6: Shares(0.00, 100.00, 0.00),
    7: Shares(0.62, 99.38, 0.00),
    8: Shares(4.87, 95.13, 0.00),
    9: Shares(12.93, 87.07, 0.00),
    10: Shares(24.15, 75.85, 0.00),
    11: Shares(36.45, 63.55, 0.00),
    12: Shares(49.95, 50.05, 0.00),
    13: Shares(58.57, 41.43, 0.00),
    14: Shares(67.92, 32.08, 0.00),
    15: Shares(75.37, 24.63, 0.00),
    16: Shares(81.49, 18.51, 0.00),
    17: Shares(85.88, 14.12, 0.00),
    18: Shares(89.77, 10.23, 0.00),
    19: Shares(92.01, 7.99, 0.00),
    20: Shares(94.38, 5.62, 0.00),
}
TABLE_4B = {  # nGD: M, K = M + 1
    2: Shares(2.73, 97.27, 0.00),
    3: Shares(48.95, 51.05, 0.00),
    4: Shares(1.34, 98.66, 0.00),
    5: Shares(1.40, 98.60, 0.00),
    6: Shares(2.87, 97.12, 0.01),
    7: Shares(1.80, 98.19, 0.01),
    8: Shares(1.49, 98.48, 0.03),
    9: Shares(2.57, 97.42, 0.01),
    10: Shares(4.25, 95.74, 0.01),
    11: Shares(6.61, 93.39, 0.00),
    12: Shares(10.58, 89.42, 0.00),
    13: Shares(15.64, 84.36, 0.00),
    14: Shares(21.55, 78.45, 0.00),
    15: Shares(27.54, 72.46, 0.00),
    16: Shares(34.73, 65.27, 0.00),
    17: Shares(41.66, 58.34, 0.00),
    18: Shares(48.76, 51.24, 0.00),
    19: Shares(55.83, 44.17, 0.00),
}
THRESHOLD_4A = 1e-2  # loss below which a run counts as global
THRESHOLDS_4B = {2: 0.123, 3: 0.11, 4: 0.105, 5: 0.105}  # M; 0.1 for all others

TABLE_1 = {  # M = 17, by K: percent with α = 0, 1, 2, 3, 4 anti-aligned students
    17: (13.09, 27.52, 29.05, 18.94, 7.55),
    18: (59.29, 0.00, 2.10, 10.83, 8.99),
    19: (99.63, 0.00, 0.05, 0.31, 0.0),
}
TABLE_2 = {  # M = 17: percent that reach the global minimum with K = 17, 18, 19; None: not converged
    "gd": (13.25, 64.18, 77.50),
    "2l-gd": (13.24, 67.91, 99.48),
    "ngd": (14.12, 58.35, None),
    "ongd": (None, None, None),
}

SAFRAN_SHAMIR = {  # runs of 1,000 that end in spurious minima, K = M
    6: 3,
    7: 55,
    8: 126,
    9: 218,
    10: 346,
    11: 455,
    12: 585,
    13: 730,
    14: 736,
    15: 803,
    16: 851,
    17: 897,
    18: 900,
    19: 934,
    20: 940,
}
SAFRAN_SHAMIR_SURPLUS = {  # and M, K = M + 1
    8: 1,
    9: 0,
    10: 1,
    11: 1,
    12: 3,
    13: 15,
    14: 55,
    15: 101,
    16: 180,
    17: 209,
    18: 369,
    19: 491,
}
