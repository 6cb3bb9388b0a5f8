# Sourced by the scripts that build. Runs one step and prints its time and the size of what it made, in MiB: as its files are long, and as they take room.
#
#   step NAME FILE COMMAND...
step() {
	step_name=$1 step_file=$2
	shift 2
	step_begin=$(date +%s.%N)
	"$@"
	printf '%-10s %6.1f s  %7.1f MiB  %7.1f MiB on disk  %s\n' "$step_name" "$(echo "$(date +%s.%N) - $step_begin" | bc)" \
		"$(echo "$(du -s --apparent-size -B1 "$step_file" | cut -f1) / 1048576" | bc -l)" "$(echo "$(du -s -B1 "$step_file" | cut -f1) / 1048576" | bc -l)" "${step_file##*/}"
}
