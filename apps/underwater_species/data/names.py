"""The names of AQUA20 (arXiv:2506.17455, Table 2), in the order of its labels: ASCII."""

SPECIES = (
    *("coral", "crab", "diver", "eel", "fish", "fishInGroups", "flatworm", "jellyfish"),
    *("marine_dolphin", "octopus", "rayfish", "seaAnemone", "seaCucumber", "seaSlug"),
    *("seaUrchin", "shark", "shrimp", "squid", "starfish", "turtle"),
)
LICENCE = "AQUA20's repository states none for the pictures; see the data set's card on the hub"
