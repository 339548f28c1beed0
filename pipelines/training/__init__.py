"""What a training is made of beside MONAI's trainer: its data, its files, several processes, a stop in between."""
