/* wrong.c: calls that cannot be, each answered with a code. Prints a line for each that is not as it must be, and then how many there were.
 *
 *   wrong SERVER TRUST-FILE DIRECTORY DEAD-SERVER OTHER-TRUST-FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "leasehold.h"

static int calls, bad;

static void want(const char *what, int32_t got, int32_t code)
{
	char text[4096];
	leasehold_error e = {.size = sizeof e};
	leasehold_last_error(&e);
	size_t n = leasehold_error_text(LEASEHOLD_SENTENCE, text, sizeof text);
	calls++;
	if (got != code || e.code != code || (n == 0) != (code == 0) || n != strlen(text) || (n && memcmp(text, "LH-", 3))) {
		printf("%s: %d where %d is wanted, and is told as %d: %s\n", what, got, code, e.code, text);
		bad++;
	}
}

int main(int argc, char **argv)
{
	if (argc != 6)
		return 2;
	enum { usage_ = 6001, trust_ = 6006 };
	char *endless = malloc(1 << 20);
	memset(endless, 'x', 1 << 20); /* no zero byte in what may be read of it */
	endless[(1 << 20) - 1] = 0;
	leasehold_client c = 7, other;
	leasehold_lease l = 7;
	leasehold_state s = {.size = sizeof s};
	leasehold_usage u = {.size = sizeof u};
	leasehold_options o = {.size = sizeof o, .servers = argv[1], .trust_file = argv[2], .directory = argv[3], .timeout_ms = 60000};
	leasehold_options p;

	want("open nothing", leasehold_open(NULL, &c), usage_);
	want("open into nothing", leasehold_open(&o, NULL), usage_);
	p = o, p.size = 0;
	want("open without a size", leasehold_open(&p, &c), usage_);
	p = o, p.size++;
	want("open of another size", leasehold_open(&p, &c), usage_);
	p = o, p.borrow_s = -1;
	want("borrow below zero", leasehold_open(&p, &c), usage_);
	p = o, p.timeout_ms = INT64_MAX;
	want("a timeout past all time", leasehold_open(&p, &c), usage_);
	p = o, p.servers = endless;
	want("servers without an end", leasehold_open(&p, &c), usage_);
	p = o, p.trust_file = NULL;
	want("no trust", leasehold_open(&p, &c), trust_);
	p = o, p.trust_file = "/nothing/here";
	want("trust that is not there", leasehold_open(&p, &c), trust_);
	p = o, p.trust_file = NULL, p.trust = "junk", p.trust_size = 4;
	want("trust that is none", leasehold_open(&p, &c), trust_);
	p = o, p.trust = "junk", p.trust_size = SIZE_MAX;
	want("trust without an end", leasehold_open(&p, &c), usage_);
	p = o, p.directory = "/dev/null/x";
	want("a directory that cannot be", leasehold_open(&p, &c), 3303);
	want("acquire of none", leasehold_acquire(0, "render", 1, 0, &l), usage_);
	want("acquire of a number", leasehold_acquire(UINT64_MAX, "render", 1, 0, &l), usage_);
	want("look at none", leasehold_look(0, &s), usage_);
	want("release of none", leasehold_release(0), usage_);
	want("close of none", leasehold_close(0), usage_);
	if (c != 0 || l != 0)
		printf("a handle of a call that gave a code\n"), bad++;

	p = o, p.servers = argv[4];
	want("open", leasehold_open(&p, &c), 0);
	want("a dead server", leasehold_acquire(c, "render", 1, 0, &l), 3302);
	want("a report to a dead server", leasehold_report(c, "pages", 1, &u), 3302);
	for (size_t i = 0; i < sizeof u.id; i++)
		if (u.id[i])
			printf("a report that was never sent has an ID\n"), bad++, i = sizeof u.id;
	want("close", leasehold_close(c), 0);
	p = o, p.trust_file = argv[5];
	want("open", leasehold_open(&p, &c), 0);
	want("another producer's server", leasehold_acquire(c, "render", 1, 0, &l), 3301);
	want("close", leasehold_close(c), 0);

	want("open", leasehold_open(&o, &c), 0);
	want("acquire into nothing", leasehold_acquire(c, "render", 1, 0, NULL), usage_);
	want("no feature", leasehold_acquire(c, NULL, 1, 0, &l), usage_);
	want("an empty feature", leasehold_acquire(c, "", 1, 0, &l), usage_);
	want("a long feature", leasehold_acquire(c, endless, 1, 0, &l), usage_);
	want("no count", leasehold_acquire(c, "render", 0, 0, &l), usage_);
	want("a count below zero", leasehold_acquire(c, "render", -1, 0, &l), usage_);
	want("too large a count", leasehold_acquire(c, "render", INT64_MAX, 0, &l), usage_);
	want("a wait below zero", leasehold_acquire(c, "render", 1, -1, &l), usage_);
	want("a wait past all time", leasehold_acquire(c, "render", 1, INT64_MAX, &l), usage_);
	want("a feature nobody has", leasehold_acquire(c, "nothing", 1, 0, &l), 3101);
	want("a version nobody has", leasehold_acquire(c, "render:2099.1", 1, 0, &l), 3102);
	want("more than there are", leasehold_acquire(c, "render", 1000, 0, &l), 3104);
	leasehold_error e = {.size = sizeof e};
	if (leasehold_last_error(&e) || e.asked != 1000 || e.total != 200 || e.used != 0)
		printf("no seat free: %lld asked, %lld of %lld used\n", (long long)e.asked, (long long)e.used, (long long)e.total), bad++;
	char tiny[8];
	size_t n = leasehold_error_text(LEASEHOLD_SENTENCE, tiny, sizeof tiny);
	if (n < sizeof tiny || strcmp(tiny, "LH-3104") || leasehold_error_text(LEASEHOLD_SENTENCE, NULL, 0) != n || leasehold_error_text(99, tiny, sizeof tiny) || tiny[0])
		printf("a text of %zu bytes is cut to %s\n", n, tiny), bad++;
	if (!leasehold_error_text(LEASEHOLD_NEXT, NULL, 0) || leasehold_last_error(NULL) != usage_ || (e.size = 1, leasehold_last_error(&e)) != usage_)
		printf("the last error is told into nothing\n"), bad++;

	want("acquire", leasehold_acquire(c, "render", 2, 0, &l), 0);
	want("a lease as a client", leasehold_acquire(l, "render", 1, 0, &other), usage_);
	want("a client as a lease", leasehold_release(c), usage_);
	want("look into nothing", leasehold_look(l, NULL), usage_);
	s.size = 3;
	want("look into another size", leasehold_look(l, &s), usage_);
	s.size = sizeof s;
	want("look", leasehold_look(l, &s), 0);
	if (s.held != 1 || s.why != 0 || s.count != 2 || s.expiry < 1000000000)
		printf("a lease of 2 is told as %d, %d, %lld, %lld\n", s.held, s.why, (long long)s.count, (long long)s.expiry), bad++;
	want("a notice into nothing", leasehold_notice(l, NULL, 9), usage_);
	want("a notice into no bytes", leasehold_notice(l, tiny, 0), usage_);
	want("a notice", leasehold_notice(l, tiny, sizeof tiny), 0);
	want("release", leasehold_release(l), 0);
	want("release again", leasehold_release(l), usage_);
	want("look at what was released", leasehold_look(l, &s), usage_);
	leasehold_terms t = {.size = sizeof t, .count = 1000, .partial = 1}, v;
	want("on no terms", leasehold_acquire_as(c, "render", NULL, &l), usage_);
	v = t, v.size--;
	want("on terms of another size", leasehold_acquire_as(c, "render", &v, &l), usage_);
	v = t, v.partial = 2;
	want("partial is neither", leasehold_acquire_as(c, "render", &v, &l), usage_);
	v = t, v.keep = -1;
	want("keep is neither", leasehold_acquire_as(c, "render", &v, &l), usage_);
	v = t, v.borrow_s = -1;
	want("terms of less than no time", leasehold_acquire_as(c, "render", &v, &l), usage_);
	v = t, v.wait_ms = INT64_MAX;
	want("terms past all time", leasehold_acquire_as(c, "render", &v, &l), usage_);
	v = t, v.count = 0;
	want("terms of no count", leasehold_acquire_as(c, "render", &v, &l), usage_);
	want("terms into nothing", leasehold_acquire_as(c, "render", &t, NULL), usage_);
	v = t, v.partial = 0;
	want("all or nothing", leasehold_acquire_as(c, "render", &v, &l), 3104);
	want("what there is", leasehold_acquire_as(c, "render", &t, &l), 0);
	if (leasehold_look(l, &s) || s.count != 200)
		printf("a part is %lld of 200\n", (long long)s.count), bad++;
	want("release of a part", leasehold_release(l), 0);
	v = t, v.partial = 0, v.count = 3, v.keep = 1, v.borrow_s = 60;
	want("for a journey", leasehold_acquire_as(c, "render", &v, &l), 0);
	want("close on the way", leasehold_close(c), 0);
	want("open at home", leasehold_open(&o, &c), 0);
	want("all are not there", leasehold_acquire(c, "render", 198, 0, &l), 3104);
	want("give back of none", leasehold_give_back(0, "render"), usage_);
	want("give back of nothing", leasehold_give_back(c, NULL), usage_);
	want("give back of what nobody holds", leasehold_give_back(c, "pages"), 3203);
	want("give back early", leasehold_give_back(c, "render"), 0);
	want("give back twice", leasehold_give_back(c, "render"), 3203);
	want("all are there", leasehold_acquire(c, "render", 200, 0, &l), 0);
	want("release of all", leasehold_release(l), 0);
	want("no report", leasehold_report(c, "pages", 0, &u), usage_);
	want("too large a report", leasehold_report(c, "pages", INT64_MIN, &u), usage_);
	want("a report of nothing", leasehold_report(c, NULL, 1, &u), usage_);
	want("a report that nobody keeps", leasehold_report(c, "pages", 1, NULL), 0);
	want("undo of nothing", leasehold_undo(c, NULL), usage_);
	memset(u.id, 0, sizeof u.id);
	want("undo of no report", leasehold_undo(c, &u), usage_);
	memset(u.id, 0xee, sizeof u.id);
	want("undo of an unknown report", leasehold_undo(c, &u), 3005);
	want("acquire", leasehold_acquire(c, "render", 1, 0, &l), 0);
	want("close", leasehold_close(c), 0);
	want("close again", leasehold_close(c), usage_);
	want("look at a lease of a closed client", leasehold_look(l, &s), usage_);
	want("release of a lease of a closed client", leasehold_release(l), usage_);
	want("acquire of a closed client", leasehold_acquire(c, "render", 1, 0, &l), usage_);
	free(endless);
#ifdef PLANT_A_LEAK /* many small ones: a number that happens to look like an address hides one of them, and a large one for sure */
	char *volatile lost;
	for (int i = 0; i < 100; i++)
		if (!(lost = malloc(100)))
			return 2;
	lost = NULL;
#endif
	printf("%d calls, %d wrong\n", calls, bad);
	return bad != 0;
}
