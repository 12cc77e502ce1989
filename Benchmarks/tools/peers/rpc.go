// A peer: Go's net/rpc.
//
//	rpc PORT requests     a server that speaks the wire format of request connections
//	rpc PORT gob          a server that speaks net/rpc's own
//	rpc PORT load DEPTH SECONDS WARMUP PID
//	                      a client of the latter: one line of JSON, with that process's CPU time
//
// Type 0 is answered with its payload, by a goroutine for each request, as net/rpc has it.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/rpc"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Service is what net/rpc calls.
type Service struct{}

// Echo gives the payload back.
func (Service) Echo(payload []byte, answer *[]byte) error {
	*answer = payload
	return nil
}

// requestCodec is rpc.ServerCodec over base-128 integers, the highest group first. Its last three
// fields are of the goroutine that reads.
type requestCodec struct {
	connection io.Closer
	reader     *bufio.Reader
	writer     *bufio.Writer
	payload    []byte
}

func newRequestCodec(connection net.Conn) *requestCodec {
	return &requestCodec{
		connection: connection,
		reader:     bufio.NewReaderSize(connection, 65536),
		writer:     bufio.NewWriterSize(connection, 65536),
	}
}

func readNumber(reader io.ByteReader) (uint64, error) {
	var value uint64
	for count := 0; count < 10; count++ {
		next, err := reader.ReadByte()
		if err != nil {
			return 0, err
		}
		value = value<<7 | uint64(next&0x7f)
		if next < 0x80 {
			return value, nil
		}
	}
	return 0, errors.New("a number of more than ten bytes")
}

func appendNumber(bytes []byte, value uint64) []byte {
	var groups [10]byte
	at := len(groups) - 1
	groups[at] = byte(value & 0x7f)
	for value >>= 7; value > 0; value >>= 7 {
		at--
		groups[at] = byte(value&0x7f) | 0x80
	}
	return append(bytes, groups[at:]...)
}

func (codec *requestCodec) ReadRequestHeader(request *rpc.Request) error {
	length, err := readNumber(codec.reader)
	if err != nil {
		return err
	}
	if length > 16<<20 {
		return errors.New("too long")
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(codec.reader, body); err != nil {
		return err
	}
	fields := bytes.NewReader(body)
	var words [3]uint64 // tag, flags, type
	for index := range words {
		if words[index], err = readNumber(fields); err != nil {
			return err
		}
	}
	if words[1] != 2 || words[2] == 0 {
		return io.EOF // not on channel 0, or the end
	}
	request.Seq = words[0]
	request.ServiceMethod = "Service.Echo"
	if words[2] != 1 {
		request.ServiceMethod = "Service.None"
	}
	codec.payload = body[len(body)-fields.Len():]
	return nil
}

func (codec *requestCodec) ReadRequestBody(body any) error {
	if body != nil {
		*body.(*[]byte) = codec.payload
	}
	return nil
}

// WriteResponse is called with net/rpc's lock held. As its own codec does, it flushes each answer.
func (codec *requestCodec) WriteResponse(response *rpc.Response, body any) error {
	flags, payload := byte(0), []byte(response.Error)
	if response.Error == "" {
		flags, payload = 4, *body.(*[]byte)
	}
	var room [32]byte
	head := append(appendNumber(room[:0], response.Seq), flags)
	var length [10]byte
	codec.writer.Write(appendNumber(length[:0], uint64(len(head)+len(payload))))
	codec.writer.Write(head)
	codec.writer.Write(payload)
	return codec.writer.Flush()
}

func (codec *requestCodec) Close() error { return codec.connection.Close() }

func serve(address string, isGob bool) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		if isGob {
			go rpc.ServeConn(connection)
		} else {
			go rpc.ServeCodec(newRequestCodec(connection))
		}
	}
}

// processorSeconds is the user and system time of a process so far, proc(5).
func processorSeconds(pid string) float64 {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		log.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

func ownSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func load(address string, depth int, seconds, warm float64, pid string) {
	client, err := rpc.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	done := make(chan *rpc.Call, depth)
	payload := bytes.Repeat([]byte("x"), 64)
	ask := func(number uint64) {
		asked := append([]byte(nil), payload...)
		binary.LittleEndian.PutUint64(asked, number)
		client.Go("Service.Echo", asked, new([]byte), done)
	}
	for index := 0; index < depth; index++ {
		ask(uint64(index))
	}
	count, number, isMeasuring := 0.0, uint64(depth), false
	began, here, there := time.Now(), 0.0, 0.0
	for call := range done {
		if call.Error != nil || !bytes.Equal(call.Args.([]byte), *call.Reply.(*[]byte)) {
			log.Fatal("a wrong answer: ", call.Error)
		}
		count++
		spent := time.Since(began).Seconds()
		if !isMeasuring && spent > warm {
			isMeasuring, count, began = true, 0, time.Now()
			here, there = ownSeconds(), processorSeconds(pid)
		} else if isMeasuring && spent > seconds {
			fmt.Printf("{\"requests\": %.0f, \"requests_per_s\": %.0f, "+
				"\"server_cpu_us_per_request\": %.4f, \"client_cpu_us_per_request\": %.4f}\n",
				count, count/spent,
				(processorSeconds(pid)-there)/count*1e6, (ownSeconds()-here)/count*1e6)
			return
		}
		ask(number)
		number++
	}
}

func main() {
	address := "127.0.0.1:" + os.Args[1]
	if os.Args[2] != "load" {
		if err := rpc.Register(Service{}); err != nil {
			log.Fatal(err)
		}
		serve(address, os.Args[2] == "gob")
	}
	depth, _ := strconv.Atoi(os.Args[3])
	seconds, _ := strconv.ParseFloat(os.Args[4], 64)
	warm, _ := strconv.ParseFloat(os.Args[5], 64)
	load(address, depth, seconds, warm, os.Args[6])
}
