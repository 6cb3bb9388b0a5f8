package tpm

import (
	"bytes"
	"encoding/asn1"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"
)

// Makers may keep what lies between their root and the EK certificates in a range
// of NV indexes: TCG EK Credential Profile 2.2.1.5.2. Anybody who owns the machine
// can write there too, so what is read is bounded, and judged elsewhere.
const (
	firstChain = 0x01C00100
	lastChain  = 0x01C001FF

	maxChainIndexes = 16
	maxChainBytes   = 16 << 10 // of all indexes: twice what evidence takes, for padding and roots
)

// chain reads the certificates of that range, DER, in order, once in the life of a
// Device: no more than maxChainIndexes of them, and maxChainBytes. What the TPM will
// not give is left out.
func (d *Device) chain() ([][]byte, error) {
	if d.chained {
		return d.authority, nil
	}
	indexes, err := d.chainIndexes()
	if err != nil && !lasting(err) {
		return nil, fmt.Errorf("list the NV indexes of intermediate certificates: %w", err)
	}
	var areas [][]byte
	room := maxChainBytes
	for _, index := range indexes {
		b, err := d.readNV(index, room)
		if err != nil && !lasting(err) {
			return nil, fmt.Errorf("read the certificates at NV index %#x: %w", uint32(index), err)
		}
		areas = append(areas, b)
		room -= len(b)
	}
	d.authority, d.chained = split(areas), true
	return d.authority, nil
}

func (d *Device) chainIndexes() ([]tpm2.TPMHandle, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: firstChain, PropertyCount: maxChainIndexes}.Execute(d.link)
	if err != nil {
		return nil, err
	}
	list, err := rsp.CapabilityData.Data.Handles()
	if err != nil {
		return nil, err
	}
	first := list.Handle[:min(len(list.Handle), maxChainIndexes)]
	return slices.DeleteFunc(first, func(h tpm2.TPMHandle) bool { return h < firstChain || h > lastChain }), nil
}

// split takes DER items one after the other. One may begin in an area and end in
// the next; what follows the last of an area may be padding, or never end. So each
// area is read behind what was begun, and by itself.
func split(areas [][]byte) [][]byte {
	var items [][]byte
	var begun []byte // an item without its end
	for _, area := range areas {
		found, rest := itemsOf(area)
		if len(begun) > 0 {
			joined, after := itemsOf(append(begun, area...))
			if items = append(items, joined...); len(found) == 0 {
				rest = after
			}
		}
		items, begun = append(items, found...), bytes.Clone(rest)
	}
	return items
}

// itemsOf takes whole items off b; the rest is nil where it is not a begun one.
func itemsOf(b []byte) (items [][]byte, rest []byte) {
	for len(b) > 0 {
		const sequence = 0x30
		if b[0] != sequence {
			return items, nil
		}
		var item asn1.RawValue
		after, err := asn1.Unmarshal(b, &item)
		if err != nil {
			return items, b
		}
		items, b = append(items, item.FullBytes), after
	}
	return items, nil
}
