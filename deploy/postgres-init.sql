-- MLflow's database is made by the image; the studies get their own.
CREATE DATABASE optuna OWNER gansweep;
