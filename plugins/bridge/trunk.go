package main

import (
	"slices"

	"github.com/fairway-cni/fairway/pkg/attach"
)

// maxVLAN is the highest VLAN ID (IEEE 802.1Q; 4095 is reserved).
const maxVLAN = 4094

// trunk is the key vlanTrunk: VLANs that a container sends and receives with their tags.
type trunk []trunkEntry

// trunkEntry is one VLAN, or all from MinID to MaxID, or both.
type trunkEntry struct {
	ID    *int `json:"id"`
	MinID *int `json:"minID"`
	MaxID *int `json:"maxID"`
}

// vlans is the VLANs of all entries, sorted, each once.
func (t trunk) vlans() ([]uint16, error) {
	var ids []uint16
	for i, entry := range t {
		if (entry.MinID == nil) != (entry.MaxID == nil) {
			return nil, attach.Invalidf("key vlanTrunk[%d] has one of minID and maxID: give both, or id", i)
		}
		for _, span := range [][2]*int{{entry.ID, entry.ID}, {entry.MinID, entry.MaxID}} {
			if span[0] == nil {
				continue
			}
			low, high := *span[0], *span[1]
			if low < 1 || high > maxVLAN || low > high {
				return nil, attach.Invalidf("key vlanTrunk[%d] spans %d to %d: give VLANs from 1 to %d, the lower first", i, low, high, maxVLAN)
			}
			for id := low; id <= high; id++ {
				ids = append(ids, uint16(id))
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
