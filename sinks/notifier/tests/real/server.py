"""A real SMTP server for one test: aiosmtpd, as strict or as slow as its first argument says. Prints its port, then each mail
that it took as one line of JSON, as Python's own parser of mail understands it."""

import asyncio
import email
import email.policy
import json
import sys

from aiosmtpd.smtp import SMTP

MANNER = sys.argv[1]


class Handler:
    """Refuses, delays or takes."""

    def __init__(self):
        self.asked = 0

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        self.asked += 1
        if MANNER == "greylists" and self.asked == 1:
            return "451 4.7.1 Greylisted, try again later"
        if MANNER == "refuses" and self.asked == 1:
            return "550 5.1.1 No such user here"
        if MANNER == "slow":
            await asyncio.sleep(2)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "names": [name.lower() for name in mail.keys()],
            "defects": [repr(defect) for part in mail.walk() for defect in part.defects],
            "type": mail.get_content_type(),
            "text": mail.get_content(),
        }
        print(json.dumps(told), flush=True)
        return "250 OK"


async def main():
    handler, loop = Handler(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="mail.example.org"), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
