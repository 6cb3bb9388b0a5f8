/* threads.c: a hundred threads at once, half of which do what cannot be done. Each must hear of its own errors only. At last one waits for an hour, which close ends.
 *
 *   threads SERVER TRUST-FILE DIRECTORY
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "leasehold.h"

enum { threads = 100, rounds = 2 };

static leasehold_client client;
static int failed[threads + 1];

static int told(int32_t got, int32_t code, const char *must)
{
	char text[1024];
	leasehold_error e = {.size = sizeof e};
	leasehold_last_error(&e);
	leasehold_error_text(LEASEHOLD_SENTENCE, text, sizeof text);
	if (got == code && e.code == code && strstr(text, must))
		return 0;
	printf("%d where %d is wanted, told as %d: %s\n", got, code, e.code, text);
	return 1;
}

static void *one(void *arg)
{
	int n = (int)(size_t)arg;
	char name[32];
	snprintf(name, sizeof name, "nothing-%d", n);
	for (int i = 0; i < rounds; i++) {
		leasehold_lease l;
		if (n % 2) {
			failed[n] += told(leasehold_acquire(client, name, 1, 0, &l), 3101, name);
			continue;
		}
		leasehold_state s = {.size = sizeof s};
		failed[n] += told(leasehold_acquire(client, "render", 1, 0, &l), 0, "");
		failed[n] += told(leasehold_look(l, &s), 0, "") + (s.held != 1);
		failed[n] += told(leasehold_release(l), 0, "");
		failed[n] += told(leasehold_release(l), 6001, "handle");
	}
	return NULL;
}

static void *waits(void *arg)
{
	leasehold_lease l;
	(void)arg;
	failed[threads] = leasehold_acquire(client, "render", 201, 3600 * 1000, &l) == 0 || l != 0;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t all[threads], last;
	leasehold_options o = {.size = sizeof o, .servers = argc == 4 ? argv[1] : NULL, .trust_file = argv[2], .directory = argv[3], .timeout_ms = 120000};
	if (argc != 4 || leasehold_open(&o, &client))
		return 2;
	for (size_t i = 0; i < threads; i++)
		pthread_create(&all[i], NULL, one, (void *)i);
	for (int i = 0; i < threads; i++)
		pthread_join(all[i], NULL);
	pthread_create(&last, NULL, waits, NULL);
	int sum = told(leasehold_close(client), 0, "");
	pthread_join(last, NULL);
	for (int i = 0; i <= threads; i++)
		sum += failed[i];
	printf("%d threads, %d wrong\n", threads, sum);
	return sum != 0;
}
