package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/leasehold/leasehold/capability/client"
)

// A program that renders while it holds two counts of "render", and waits up to five minutes for them.
func Example() {
	c, err := client.New(client.Options{Server: "license.example:7070", TrustFile: "producer.lht"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	lease, err := c.Acquire(context.Background(), "render:2026.1", client.Count(2), client.Wait(5*time.Minute))
	if errors.Is(err, client.ErrNoSeat) {
		fmt.Println("starting in viewer mode:", err)
		return
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println("licensed until", lease.Expiry(), "and renewed until then")
	<-lease.Lost()
	log.Fatal(lease.Err())
}
