//! What is left of runs, whatever became of them and of the files. Keeps nothing on the disk.
