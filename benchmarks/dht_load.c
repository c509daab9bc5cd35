/*
 * dht_load - load generator for one node of the DHT.
 *
 *   dht_load PORT COUNT OUTSTANDING REQUEST
 *
 * Sends COUNT requests to 127.0.0.1:PORT, OUTSTANDING of them under way at a time, each a copy of REQUEST (hex) with
 * a transaction id of its own in bytes 2 and 3.  An answer must repeat the id, and be as long as the first one;
 * what has no answer after a second is sent again, and counted.  The result is one JSON line:
 *
 *   {"answers": N, "length": bytes of an answer, "lost": N, "wrong": N, "seconds": S}
 *
 * Datagrams go out and come in by sendmmsg and recvmmsg, so that the generator is not what is measured.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_OUTSTANDING 1024
#define MAX_REQUEST 2048

static int fd, outstanding;
static size_t length;
static uint8_t requests[MAX_OUTSTANDING][MAX_REQUEST], answers[MAX_OUTSTANDING][MAX_REQUEST];
static uint8_t under_way[65536];
static struct mmsghdr out[MAX_OUTSTANDING], in[MAX_OUTSTANDING];
static struct iovec out_vectors[MAX_OUTSTANDING], in_vectors[MAX_OUTSTANDING];
static uint16_t next_tid;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void prepare(const char *hex)
{
    length = strlen(hex) / 2;
    if (length < 10 || length > MAX_REQUEST)
        die("request");
    for (size_t i = 0; i < length; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            die("request");
        for (int slot = 0; slot < outstanding; slot++)
            requests[slot][i] = byte;
    }
    for (int slot = 0; slot < outstanding; slot++) {
        out_vectors[slot] = (struct iovec){requests[slot], length};
        in_vectors[slot] = (struct iovec){answers[slot], MAX_REQUEST};
        out[slot].msg_hdr = (struct msghdr){.msg_iov = &out_vectors[slot], .msg_iovlen = 1};
        in[slot].msg_hdr = (struct msghdr){.msg_iov = &in_vectors[slot], .msg_iovlen = 1};
    }
}

static void submit(int count)
{
    for (int slot = 0; slot < count; slot++) {
        uint16_t tid = next_tid++;
        under_way[tid] = 1;
        memcpy(requests[slot] + 2, &tid, 2);
    }
    for (int sent = 0; sent < count;) {
        int more = sendmmsg(fd, out + sent, count - sent, 0);
        if (more < 0)
            die("sendmmsg");
        sent += more;
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: dht_load PORT COUNT OUTSTANDING REQUEST\n");
        return 2;
    }
    long count = atol(argv[2]), done = 0, sent = 0, lost = 0, wrong = 0;
    outstanding = atoi(argv[3]);
    if (outstanding < 1 || outstanding > MAX_OUTSTANDING)
        return 2;
    prepare(argv[4]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        die("socket");
    size_t expected = 0;
    int flying = 0;
    double began = now();
    while (done < count) {
        int want = outstanding - flying;
        if (want > count - sent)
            want = count - sent;
        if (want > 0) {
            submit(want);
            sent += want;
            flying += want;
        }
        struct pollfd ready = {fd, POLLIN, 0};
        if (poll(&ready, 1, 1000) == 0) {
            lost += flying;
            sent -= flying;
            flying = 0;
            memset(under_way, 0, sizeof under_way);
            if (lost > count)
                break;
            continue;
        }
        int got = recvmmsg(fd, in, outstanding, MSG_DONTWAIT, NULL);
        if (got < 0 && errno != EAGAIN)
            die("recvmmsg");
        for (int slot = 0; slot < got; slot++) {
            uint16_t tid;
            memcpy(&tid, answers[slot] + 2, 2);
            if (in[slot].msg_len < 10 || answers[slot][0] != 0x13 || !under_way[tid]) {
                wrong++;
                continue;
            }
            under_way[tid] = 0;
            flying--;
            done++;
            if (!expected)
                expected = in[slot].msg_len;
            if (in[slot].msg_len != expected)
                wrong++;
        }
    }
    printf("{\"answers\": %ld, \"length\": %zu, \"lost\": %ld, \"wrong\": %ld, \"seconds\": %.6f}\n", done, expected, lost,
           wrong, now() - began);
    return 0;
}
