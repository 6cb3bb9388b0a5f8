package ledger

// Settled says that nothing is lent any more of what the response in force, or one before it, left out: then the machine uses no more than that response gives, and a request may say so. During a
// hold, and where the trusted storage was made anew, nobody here knows what is lent.
func (l *Ledger) Settled(now Now) bool {
	if !l.provisioned() || l.lost != 0 || l.holdAt(now) != 0 {
		return false
	}
	d := l.draft(now, nil, "")
	for _, it := range l.items {
		count, overdraft := int64(it.Count), int64(it.Overdraft)
		if it.cut {
			count, overdraft = 0, 0
		}
		if (it.cut || !it.Uncounted) && (d.inUse(it) > count || d.used(it.slices[inOverdraft]) > overdraft) {
			return false
		}
	}
	return true
}
