package appliance

import "math/rand/v2"

// drawing is a life in the making.
type drawing struct {
	schedule
	*rand.Rand
	quiet bool // the adversary sends no requests, so that nobody hears of him
}

// draw makes a life of n operations from a seed: weeks of ordinary use, with an administrator who tries things. What it draws does not depend on what happens.
func draw(seed uint64, n int) schedule {
	d := drawing{schedule: schedule{seed: seed}, Rand: rand.New(rand.NewPCG(seed, 4))}
	d.boxes, d.clients = 1+d.IntN(2), 3+d.IntN(5)
	if d.IntN(10) == 0 {
		d.clients = 50
	}
	d.quiet = d.IntN(2) == 0
	nature := rand.New(rand.NewPCG(seed, 5)) // what it does changes nothing else
	evil, virtual := d.IntN(4) > 0, d.IntN(4) == 0
	for len(d.ops) < n {
		if nature.IntN(20) == 0 {
			d.add("drift", nature.IntN(d.boxes), nature.IntN(128), 0)
		}
		switch p := d.IntN(100); {
		case p < 60:
			d.use()
		case p < 70:
			d.trouble()
		case p < 80:
			d.exchange()
		case p < 88 && evil:
			d.attack()
		case p < 89 && evil && len(d.ops) > n/4:
			d.wipe()
		case p < 90 && virtual && len(d.ops) > n/2:
			d.clone()
		default:
			d.add("wait", []int{1 + d.IntN(20), 60 + d.IntN(600), 840 + d.IntN(120), 3600 + d.IntN(3600), 8 * 3600, 86400}[d.IntN(6)], 0, 0)
		}
	}
	return d.schedule
}

func (d *drawing) add(name string, a, b, c int) { d.ops = append(d.ops, op{name, a, b, c}) }
func (d *drawing) box() int                     { return d.IntN(d.boxes) }
func (d *drawing) client() int                  { return d.IntN(d.clients) }
func (d *drawing) of(names ...string) string    { return names[d.IntN(len(names))] }

// ask is a client that wants something; most answers arrive, and most leases are ordinary.
func (d *drawing) ask() {
	d.add("ask", d.client(), d.IntN(6), max(0, d.IntN(6)-2)+4*max(0, d.IntN(7)-3)+16*d.IntN(2)+32*d.IntN(2))
}

func (d *drawing) use() {
	switch p := d.IntN(60); {
	case p < 30:
		d.ask()
	case p < 34:
		d.add("storm", d.client(), d.IntN(8), d.IntN(64))
	case p < 42:
		d.add("renew", d.client(), max(0, d.IntN(8)-5), d.IntN(5)/3)
	case p < 49:
		d.add("release", d.client(), d.IntN(2), d.IntN(5)/3)
	case p < 52:
		d.add(d.of("late", "again", "again", "route"), d.client(), d.box(), 0)
	case p < 53:
		d.add(d.of("keep", "older"), d.client(), d.IntN(3), 0)
	case p < 55:
		d.add("mend", d.box(), 0, 0)
	default:
		d.add("wait", []int{1 + d.IntN(20), 60 + d.IntN(600), 840 + d.IntN(120)}[d.IntN(3)], 0, 0)
	}
}

// trouble is what happens to honest machines.
func (d *drawing) trouble() {
	b := d.box()
	switch d.IntN(4) {
	case 0:
		d.add(d.of("stop", "stop", "kill", "cut", "reboot"), b, d.IntN(9), 0)
		d.add("wait", d.IntN(400), 0, 0)
		d.add("start", b, 0, 0)
		d.add("wait", []int{0, 60, 900}[d.IntN(3)], 0, 0)
	case 1, 2:
		d.add("strike", b, d.IntN(30), d.IntN(36))
		d.any(b)
		d.add("start", b, 0, 0)
	case 3:
		d.add(d.of("snapshot", "start", "mend"), b, 0, 0)
	}
}

// any is something that writes.
func (d *drawing) any(b int) {
	switch p := d.IntN(6); {
	case p == 0 && !d.quiet:
		d.add("request", b, d.IntN(2), d.IntN(8))
	case p == 1:
		d.add("return", b, d.IntN(2), d.IntN(3))
	case p == 2:
		d.add("carry", 0, 0, 0)
	case p == 3:
		d.add("stop", b, 0, 0)
		d.add("start", b, 0, 0)
	default:
		d.ask()
	}
}

// exchange is sticks on their way.
func (d *drawing) exchange() {
	b := d.box()
	switch d.IntN(5) {
	case 0, 1:
		d.add("request", b, d.IntN(2), d.IntN(8))
		d.add("carry", 0, 0, 0)
		d.add("carry", 0, 0, 0)
	case 2:
		d.add("request", b, d.IntN(2), d.IntN(8))
	case 3:
		d.add("return", b, d.IntN(2), d.IntN(3))
	case 4:
		d.add(d.of("carry", "carry", "carry", "elsewhere", "lose"), d.IntN(6), b, 0)
	}
}

// attack is a copy of the disk that comes back after something was told, with the power cut or not, and then what was free in it is asked for.
func (d *drawing) attack() {
	b, image := d.box(), d.IntN(3)
	switch d.IntN(12) {
	case 0:
		d.add("copy", b, image, 0)
		d.add("second", b, image, 0)
		for range d.IntN(8) {
			d.ask()
		}
		return
	case 1:
		d.add("junk", b, d.IntN(4), 0)
		return
	case 2:
		d.add("elevate", b, image, 0)
		return
	case 3:
		d.add("wind", b, []int{0, 0, 0, -3600, 3600, 86400 * 3, -86400 * 30}[d.IntN(7)], 0)
		return
	case 4:
		d.add("copy", b, image, 0)
		return
	}
	if d.IntN(4) > 0 {
		d.add("copy", b, image, 0)
	}
	// What the copy will not know.
	switch d.IntN(5) {
	case 0:
		d.crowd(d.IntN(4))
	case 1:
		d.add("wait", 3600*d.IntN(60), 0, 0)
		d.add("return", b, d.IntN(2), 0)
		if !d.quiet {
			d.add("request", b, 0, 0)
			d.add("carry", 0, 0, 0)
		}
	case 2:
		for range 3 {
			d.add("release", d.client(), d.IntN(2), d.IntN(5)/3)
		}
		d.crowd(0)
	default:
		for range d.IntN(6) {
			d.any(b)
		}
	}
	d.add(d.of("kill", "cut", "cut", "reboot", "stop"), b, d.IntN(9), 0)
	d.add("restore", b, image, 0)
	if d.IntN(4) == 0 {
		d.add("strike", b, d.IntN(30), d.IntN(36))
		d.add("start", b, 0, 0)
	}
	d.add("start", b, 0, 0)
	if d.IntN(4) == 0 {
		d.add(d.of("kill", "stop"), b, 0, 0)
		d.add("start", b, 0, 0)
	}
	d.add("wait", []int{0, 0, 10, 250, 500, 840 + d.IntN(120), 901, 3600}[d.IntN(8)], 0, 0)
	d.crowd(0)
	if d.IntN(3) == 0 && !d.quiet {
		d.exchange()
	}
	if d.IntN(12) > 0 {
		d.add("mend", b, 0, 0)
	}
	if d.IntN(4) > 0 {
		d.add("wait", 900, 0, 0)
	}
}

// crowd is clients that take all there is.
func (d *drawing) crowd(borrow int) {
	first, feature := d.client(), d.IntN(2)
	for n := range 2 + d.IntN(5) {
		d.add("ask", first+n, 4*d.IntN(2)+feature, 4*borrow+16*d.IntN(2))
	}
}

// wipe is a machine that pretends to be new, and takes what responses it can get.
func (d *drawing) wipe() {
	b := d.box()
	if d.IntN(2) == 0 {
		d.add("request", b, 0, 0)
		d.add("carry", 0, 0, 0)
	}
	switch d.IntN(20) {
	case 0:
		d.add("clear", b, 0, 0)
	case 1, 2, 3, 4:
		d.add("restore", b, 3, 0)
	default:
		d.add("wipe", b, d.IntN(3), 0)
	}
	d.add("start", b, 0, 0)
	d.add("carry", d.IntN(3), 0, 0)
	d.add("first", b, 0, 0)
	for range 3 {
		d.ask()
	}
	if d.IntN(2) == 0 {
		d.exchange()
	}
	d.add("mend", b, 0, 0)
}

// clone is a virtual machine that goes back or lives twice, TPM and all.
func (d *drawing) clone() {
	b, image := d.box(), d.IntN(3)
	d.add("suspend", b, image, 0)
	for range d.IntN(6) {
		d.use()
	}
	d.exchange()
	d.add("restore", b, image, 0)
	d.add("start", b, 0, 0)
	d.exchange()
	d.use()
}
