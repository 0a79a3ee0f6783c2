package main

import (
	"context"
	"fmt"
	"log"

	"sluice"
)

func main() {
	client, err := sluice.Dial("")
	if err != nil {
		log.Fatal(err)
	}
	lease, err := client.Hold(context.Background(), sluice.Resources{Name: "whisper", VRAMMB: 4096})
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release()
	fmt.Println("GPU", lease.GPUs()[0].GetIndex(), "is ours:", lease.Env())
}
