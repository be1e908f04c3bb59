"""E-mail addresses as names of accounts: nothing is ever sent to them."""

import email_validator
from email_validator import EmailNotValidError, validate_email

from mediakeep.errors import InvalidInput

# People name accounts after their private networks; the library's documentation says to change its list for that.
for _name in ("local", "localhost", "arpa"):
    if _name in email_validator.SPECIAL_USE_DOMAIN_NAMES:
        email_validator.SPECIAL_USE_DOMAIN_NAMES.remove(_name)


def fold_email(email: str) -> str:
    """The form in which two addresses are the same account. Raises `InvalidInput` for what is no address."""
    try:
        valid = validate_email(
            email.strip(), check_deliverability=False, globally_deliverable=False, test_environment=True
        )
    except EmailNotValidError as error:
        raise InvalidInput(str(error), field="email") from error
    return valid.normalized.casefold()
