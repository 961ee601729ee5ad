package attachment

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/libcni"
	types100 "github.com/containernetworking/cni/pkg/types/100"
)

// List is all attachments in the cache, alive or stale, sorted by network, name, ID and interface. No cache: none.
func (r Runtime) List() ([]Attachment, error) {
	cni := r.libcni()
	records, err := cni.GetCachedAttachments("")
	if err != nil {
		return nil, fmt.Errorf("CNI's result cache: %w", err)
	}
	all := make([]Attachment, 0, len(records))
	for _, record := range records {
		all = append(all, describe(record, cachedResult(cni, record)))
	}
	slices.SortFunc(all, func(a, b Attachment) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.DisplayName(), b.DisplayName()),
			cmp.Compare(a.ID, b.ID), cmp.Compare(a.IfName, b.IfName))
	})
	return all, nil
}

// cachedResult is nil when the cache holds none that can be read: the attachment is there nevertheless.
func cachedResult(cni *libcni.CNIConfig, record *libcni.NetworkAttachment) *types100.Result {
	list := &libcni.NetworkConfigList{Name: record.Network, CNIVersion: types100.ImplementedSpecVersion}
	cached, err := cni.GetNetworkListCachedResult(list, &libcni.RuntimeConf{ContainerID: record.ContainerID, IfName: record.IfName})
	if err != nil || cached == nil {
		return nil
	}
	result, err := types100.NewResultFromResult(cached)
	if err != nil {
		return nil
	}
	return result
}

// Of is the attachments of one network that are alive.
func Of(network string, all []Attachment) (alive []Attachment) {
	for _, a := range all {
		if a.Network == network && a.Alive() {
			alive = append(alive, a)
		}
	}
	return alive
}
