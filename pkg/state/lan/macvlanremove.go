package lan

import (
	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Remove deletes the link. A runtime that names no container any more may have kept its namespace, in which the link is then
// found by the claim.
func (m Macvlan) Remove(k *kernel.Kernel) error {
	if k.Container == nil {
		return releaseAll(claimedLink, only(m.Owner), freeLink)
	}
	if err := m.removeLink(k); err != nil {
		return err // GC comes back to what is claimed
	}
	return m.unclaim()
}

// removeLink deletes a macvlan that has the name in the container, whoever made it, unless it belongs to another attachment of
// ours, which was made under the same name since.
func (m Macvlan) removeLink(k *kernel.Kernel) error {
	if err := removeOurs(k.Container, m.Owner, m.Owner.DraftLink()); err != nil {
		return err
	}
	link, err := k.Container.LinkNow(m.Owner.IfName)
	if err != nil || link.Type() != "macvlan" {
		return state.IgnoreNotFound(err)
	}
	holder, claimed, err := m.holder(k)
	if err != nil {
		return err
	}
	group := link.Attrs().Group
	switch {
	case claimed && (holder.ContainerID != m.Owner.ContainerID || holder.IfName != m.Owner.IfName):
		return nil
	case !claimed && group != 0 && group != state.Group(m.Owner.Network):
		return nil // of another network, without its claim
	}
	return state.DeleteLink(k.Container, link)
}

// holder is who has claimed the interface's name in the container: the owner itself, or one of another network or container.
func (m Macvlan) holder(k *kernel.Kernel) (holder claims.Owner, ok bool, err error) {
	id, err := k.Container.ID()
	if err != nil {
		return claims.Owner{}, false, err
	}
	err = withExistingClaims(func(book *claims.Book) error {
		own, found, err := book.Claim(claimedLink, claims.Owner(m.Owner))
		if err != nil {
			return err
		}
		if found && namespaceOf(own).Is(id) {
			holder, ok = own.Owner, true
			return nil
		}
		all, err := book.Claims(claimedLink)
		for _, c := range all {
			if namespaceOf(c).Is(id) && c.Owner.IfName == m.Owner.IfName {
				holder, ok = c.Owner, true
			}
		}
		return err
	})
	return holder, ok, err
}
