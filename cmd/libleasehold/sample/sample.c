/* sample.c: a program that works while it holds a seat, and says what it used. It needs libleasehold.so and leasehold.h (make lib).
 *
 *   cc -Ibin sample.c -Lbin -lleasehold -o sample
 *   LD_LIBRARY_PATH=bin ./sample license.plant:7070 producer.lht ~/.local/state/sample
 */
#include <stdio.h>
#include <stdlib.h>
#include "leasehold.h"

/* Ends the program with what the last call met. */
static void stop(const char *doing)
{
	char sentence[512], next[512];
	leasehold_error_text(LEASEHOLD_SENTENCE, sentence, sizeof sentence);
	leasehold_error_text(LEASEHOLD_NEXT, next, sizeof next);
	fprintf(stderr, "%s: %s\nnext: %s\n", doing, sentence, next);
	exit(1); /* leases of a program that ends are the device's until it asks again, or until their end */
}

int main(int argc, char **argv)
{
	if (argc != 4 || leasehold_abi() < LEASEHOLD_ABI) {
		fprintf(stderr, "usage: sample SERVER TRUST-FILE DIRECTORY, with a library of ABI %d or later\n", LEASEHOLD_ABI);
		return 2;
	}
	leasehold_options options = {.size = sizeof options, .servers = argv[1], .trust_file = argv[2], .directory = argv[3]};
	leasehold_client client;
	if (leasehold_open(&options, &client))
		stop("open");

	leasehold_lease lease;
	int32_t code = leasehold_acquire(client, "render:2026.1", 1, 10 * 1000, &lease);
	if (code == 3104) { /* no seat free */
		leasehold_error no = {.size = sizeof no};
		leasehold_last_error(&no);
		fprintf(stderr, "%lld of %lld are in use\n", (long long)no.used, (long long)no.total);
	}
	if (code)
		stop("acquire");
	leasehold_state state = {.size = sizeof state};
	if (leasehold_look(lease, &state))
		stop("look");
	printf("%s %lld, for %s\n", state.held ? "held" : "lost", (long long)state.count, state.expiry ? "a while" : "ever");

	leasehold_usage usage = {.size = sizeof usage};
	if (leasehold_report(client, "pages", 3, &usage))
		stop("report");
	printf("used %lld pages\n", (long long)usage.total);
	if (leasehold_undo(client, &usage))
		stop("undo");
	printf("undone\n");

	if (leasehold_release(lease))
		stop("release");
	printf("released\n");
	if (leasehold_close(client))
		stop("close");
	return 0;
}
