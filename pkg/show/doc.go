// Package show is what commands print: rows as Docker's commands print them, as an aligned table, as JSON or by a Go template of the user's; which
// networks `fairway ls` lists, and which fields of each; and a network in the JSON shape of `docker network inspect`. It is pure, and what it
// prints is the same wherever it goes.
package show
