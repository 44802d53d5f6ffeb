"""Standard planes of fetal ultrasound: which view of a pregnancy a picture shows."""
