"""The experiments in the order of the paper, and what else was asked."""

PAPER = (
    ("Landscape (Sections 2 and 3.1)", ("figure1b", "figure2", "table1", "figure3")),
    ("Dynamics (Section 3.2)", ("figure4", "table2")),
    (
        "Equations and their fixed points (Appendices A and B)",
        ("figure5", "figure6", "equations", "figure7", "figure8"),
    ),
    ("Finite dimensions (Appendix C)", ("figure9", "figure10")),
    ("Other activations (Appendix E)", ("figure11", "figure12")),
    ("Constrained students (Appendix F)", ("figure13", "figure14", "figure15", "figure16")),
    ("Counts (Appendix G)", ("table3a", "table3b", "table4a", "table4b", "figure17", "figure18")),
)
DIFFERENCES = (
    "Where the numbers differ, and why",
    (
        "stopping",
        "stopping_ngd",
        "dimension_of_starts",
        "initialisation",
        "surplus_levels",
        "orthonormal",
        "orthonormal_endings",
    ),
)
BEYOND = (
    "Beyond the paper",
    (
        "theorems",
        "critical_widths",
        "largest_alpha",
        "census",
        "asymptotics",
        "surplus",
        "leak",
        "sgd_trajectories",
        "dimension",
        "signed_readouts",
        "sgd_fates",
    ),
)
SECTIONS = (*PAPER, DIFFERENCES, BEYOND)
NAMES = tuple(name for _, names in SECTIONS for name in names)
