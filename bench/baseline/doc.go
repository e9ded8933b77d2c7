// Package baseline measures what lies below faena on this machine: JetStream by
// itself, and the file system's sync. The figures of faena's own benchmarks mean
// something only beside these, from the same machine and the same minute.
//
//	make bench BENCH_DIR=/srv/data
//
// FAENA_BENCH_DIR names the folder to write in, on the disk to be measured; the
// default is the system's temporary folder, which may be in memory, where a sync
// costs nothing. What the benchmarks write there is removed again.
package baseline
