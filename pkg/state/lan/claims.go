package lan

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// claimsDir holds the claims of attachments, in a directory for each host. Like the kernel's state, it does not outlive the
// boot.
const claimsDir = "/run/fairway/claims"

// Things that attachments claim, by the beginning of their names.
const (
	claimedLink = "link"  // a link in the container, which GC cannot see from the host
	claimedVLAN = "vlan:" // and the name of a VLAN interface
	claimedHost = "host:" // and the name of the host's own link in a network
)

// hostClaims is the directory of the claims on this host: several may share /run, as those of tests do.
func hostClaims() (string, error) {
	cookie, err := kernel.HostCookie()
	if err != nil {
		return "", err
	}
	return filepath.Join(claimsDir, strconv.FormatUint(cookie, 10)), nil
}

// withClaims runs f with the book of claims, which nobody else has meanwhile.
func withClaims(f func(*claims.Book) error) error {
	return useClaims(claims.Open, f)
}

// withExistingClaims runs f if anybody has ever claimed anything.
func withExistingClaims(f func(*claims.Book) error) error {
	return useClaims(claims.OpenExisting, f)
}

func useClaims(open func(string) (*claims.Book, error), f func(*claims.Book) error) error {
	dir, err := hostClaims()
	if err != nil {
		return err
	}
	book, err := open(dir)
	if err != nil || book == nil {
		return err
	}
	defer book.Close()
	return f(book)
}

// release takes away what one claim on a thing was for, and then drops it.
type release func(book *claims.Book, thing string, c claims.Claim) error

// releaseAll releases the claims that match on all things of a kind, past errors.
func releaseAll(kind string, match func(claims.Owner) bool, free release) error {
	return withExistingClaims(func(book *claims.Book) error {
		things, err := book.Things()
		errs := []error{err}
		for _, thing := range things {
			if !strings.HasPrefix(thing, kind) {
				continue
			}
			all, err := book.Claims(thing)
			errs = append(errs, err)
			for _, c := range all {
				if match(c.Owner) {
					errs = append(errs, free(book, thing, c))
				}
			}
		}
		return errors.Join(errs...)
	})
}

// only matches the claims of one owner.
func only(o state.Owner) func(claims.Owner) bool {
	return func(other claims.Owner) bool { return state.Owner(other) == o }
}

// others are the claims on a thing beside an owner's.
func others(book *claims.Book, thing string, o claims.Owner) ([]claims.Claim, error) {
	all, err := book.Claims(thing)
	return slices.DeleteFunc(all, func(c claims.Claim) bool { return c.Owner == o }), err
}

// PruneClaims takes away what owners of a network that are not among the valid ones have claimed: links in containers that
// are there still, VLAN interfaces, and the host's ways to containers. It goes on past errors.
func PruneClaims(k *kernel.Kernel, network string, valid []state.Owner, host Lender) error {
	stale := func(o claims.Owner) bool { return o.Network == network && !slices.Contains(valid, state.Owner(o)) }
	access := HostAccess{Owner: state.Owner{Network: network}, Lender: host}
	released := releaseAll(claimedHost, stale, access.free(k))
	if released == nil && len(valid) == 0 {
		released = access.removeShim(k) // whose claims somebody may have deleted
	}
	return errors.Join(released,
		releaseAll(claimedLink, stale, freeLink),
		releaseAll(claimedVLAN, stale, freeVLAN(k)))
}

// freeLink removes a link of ours from a container that is there still. An ADD that was killed may have left it there.
func freeLink(book *claims.Book, thing string, c claims.Claim) error {
	owner := state.Owner(c.Owner)
	err := namespaceOf(c).Visit(c.Netns.Path, func(n *kernel.Namespace) error {
		return errors.Join(removeOurs(n, owner, owner.DraftLink()), removeOurs(n, owner, owner.IfName))
	})
	if err != nil && !errors.Is(err, kernel.ErrNoNamespace) {
		return fmt.Errorf("link of container %s: %w", c.Owner.ContainerID, err)
	}
	return book.Drop(thing, c.Owner)
}

// removeOurs removes a link of an owner's network from the owner's container, which may have another of that name. Absence
// is success.
func removeOurs(n *kernel.Namespace, o state.Owner, name string) error {
	link, err := n.LinkNow(name)
	if err != nil || link.Attrs().Group != state.Group(o.Network) {
		return state.IgnoreNotFound(err)
	}
	return state.DeleteLink(n, link)
}

// namespaceOf is the container's namespace of a claim.
func namespaceOf(c claims.Claim) kernel.NamespaceID {
	return kernel.NamespaceID{Dev: c.Netns.Dev, Inode: c.Netns.Inode, Cookie: c.Netns.Cookie}
}

// Claimed is the namespaces in which attachments have a link of ours, by owner. A claim that cannot be read is left out, and part of
// the error.
func Claimed() (map[state.Owner]kernel.NamespaceID, error) {
	found := map[state.Owner]kernel.NamespaceID{}
	err := withExistingClaims(func(book *claims.Book) error {
		all, err := book.Claims(claimedLink)
		for _, c := range all {
			found[state.Owner(c.Owner)] = namespaceOf(c)
		}
		return err
	})
	return found, err
}
